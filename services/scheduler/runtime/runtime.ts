/**
 * The port to what runs workers: processes, containers. A scheduler decides and the runtime does; it knows nothing of
 * invocations.
 *
 * R1. `start` may fail after the worker exists. `list` tells the truth, and `stop` ends whatever exists under the id.
 * R2. `stop` ends everything that the worker started, by force, and answers when it is gone. It may be repeated.
 * R3. `onExit` is told once of each worker that ended, however it ended, also after `stop`.
 * R4. No worker outlives its server, unless its runtime can find it again (`survivesRestart`).
 */
export interface WorkerSpec {
  readonly workerId: string;
  /** What the worker needs to come to the scheduler. Secret: never in an environment variable or an argument. */
  readonly boot: WorkerBoot;
}

export interface WorkerBoot {
  /** "http://host:port" */
  readonly schedulerUrl: string;
  readonly workerId: string;
  readonly workerToken: string;
}

export interface WorkerResources {
  readonly cpu: number;
  readonly memoryBytes: number;
}

export interface WorkerExit {
  readonly workerId: string;
  /** For people: "exited with code 1", "was killed by SIGABRT". */
  readonly description: string;
  readonly outOfMemory: boolean;
}

export interface Runtime {
  /** "process", "docker", "swarm", "fake". */
  readonly name: string;
  /** Starts a spare worker; answers what the runtime calls it. */
  start(spec: WorkerSpec): Promise<string>;
  /** Gives a worker the limits of the function that it is bound to, as far as the runtime can. */
  limit(workerId: string, resources: WorkerResources): Promise<void>;
  stop(workerId: string): Promise<void>;
  /** Identifiers of all workers that exist. */
  list(): Promise<string[]>;
  onExit(listener: (exit: WorkerExit) => void): void;
  /** What a worker printed outside of any function's own output, line by line. */
  onOutput(listener: (workerId: string, stream: "stdout" | "stderr", line: string) => void): void;
  /** Ends all workers. */
  close(): Promise<void>;
}
