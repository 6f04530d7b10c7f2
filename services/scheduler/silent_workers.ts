/** Ends workers that never came, or that have fallen silent. */
import type { Scheduler } from "./scheduler.js";

const LOOK_MS = 1_000;

export class SilentWorkers {
  readonly #scheduler: Scheduler;
  #timer: NodeJS.Timeout | undefined;
  #lookedAt = 0;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  start(): void {
    this.#lookedAt = this.#scheduler.monotonic();
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { pool, settings, monotonic } = this.#scheduler;
    const now = monotonic();
    const stoodStill = now - this.#lookedAt > 3 * LOOK_MS;
    this.#lookedAt = now;
    if (stoodStill) {
      // What they said meanwhile is not read yet.
      for (const worker of pool.workers.values()) worker.heardAt = now;
      return;
    }
    for (const worker of pool.silent()) {
      const { id, phase, failure } = worker;
      if (phase === "starting" && failure === undefined) this.#scheduler.startFailed(worker, "did not connect in time");
      settings.log.warn({ workerId: id, phase }, "a worker fell silent and is stopped");
      this.#scheduler.endWorker(worker, () => pool.silent().includes(worker));
    }
  }
}
