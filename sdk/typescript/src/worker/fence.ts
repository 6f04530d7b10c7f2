/**
 * Kills this process and everything that it started, at once. The runtime makes a worker the leader of its own process
 * group, so user code's child processes die with it. Works from any thread, whatever the main thread is doing.
 */
export function killOwnGroup(): void {
  try {
    // Group 1 would mean every process of the machine.
    if (process.pid > 1) process.kill(-process.pid, "SIGKILL");
  } catch {
    // Not a group leader, as in a container: its other processes die with the container.
  }
  process.kill(process.pid, "SIGKILL");
}

/**
 * Ends a worker that has lost its scheduler: by the time the scheduler gives the worker's executions to another one, this
 * one must not run them any more.
 */
export class Fence {
  readonly #expire: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(expire: () => void) {
    this.#expire = expire;
  }

  /** There is no connection: without one within `afterMs` milliseconds the worker ends. A fence that is up stays so. */
  up(afterMs: number): void {
    this.#timer ??= setTimeout(this.#expire, afterMs);
  }

  /** There is a connection. */
  down(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
