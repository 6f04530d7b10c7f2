/** Ends workers that never came once they were started, or that have fallen silent. */
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import type { Logger } from "../../platform/log.js";
import type { PooledWorker, WorkerPool } from "./worker_pool.js";

const LOOK_MS = 1_000;

export interface SilentWorkersHost {
  readonly pool: WorkerPool;
  readonly monotonic: () => number;
  readonly log: Logger;
  readonly startFailed: (worker: PooledWorker, description: string) => void;
  readonly endWorker: (worker: PooledWorker, isDue: () => boolean) => void;
}

export class SilentWorkers {
  readonly #host: SilentWorkersHost;
  #timer: NodeJS.Timeout | undefined;
  #lookedAt = 0;

  constructor(host: SilentWorkersHost) {
    this.#host = host;
  }

  start(): void {
    this.#lookedAt = this.#host.monotonic();
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { pool, monotonic, log, startFailed, endWorker } = this.#host;
    const now = monotonic();
    const stoodStillMs = now - this.#lookedAt;
    this.#lookedAt = now;
    if (stoodStillMs > 3 * LOOK_MS) {
      for (const worker of pool.workers.values()) {
        // What they said meanwhile is not read yet.
        worker.heardAt = now;
        // Those that heard nothing for so long may have ended. Until they speak they are given nothing.
        if (stoodStillMs > LIMITS.schedulerSilenceMs) worker.isInDoubt = true;
      }
      return;
    }
    for (const worker of pool.silent()) {
      const { id, phase, failure } = worker;
      if (phase === "starting" && failure === undefined) startFailed(worker, "did not connect in time");
      log.warn({ workerId: id, phase }, "a worker fell silent and is stopped");
      endWorker(worker, () => pool.silent().includes(worker));
    }
  }
}
