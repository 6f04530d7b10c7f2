/**
 * Workers that exist and that nobody knows: left by a scheduler that died, or by an answer of the runtime that was lost.
 * Without a shared runtime they are stopped as they are found.
 *
 * N1. With a shared one, a worker is stopped when for `workerOrphanMs` it was in no pool here and its owner was this
 *     scheduler, or nobody that lives: by then it has come to some scheduler, or has ended itself and only its remains are
 *     left. So a scheduler that starts again gives its workers time to find it.
 */
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { isShared, type SharedRuntime } from "./runtime/runtime.js";
import type { Scheduler } from "./scheduler.js";

/** Workers in one question. */
const MOST_WORKERS = 1_000;

export class Strangers {
  readonly #scheduler: Scheduler;
  /** When each was first seen to be without an owner, in monotonic time. */
  #firstSeen = new Map<string, number>();
  #looking: Promise<void> | undefined;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  /** Looks once, unless it is looking. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<void> {
    const { runtime, log } = this.#scheduler.settings;
    try {
      const found = isShared(runtime) ? await this.#orphans(runtime) : await runtime.list();
      for (const workerId of found) {
        if (this.#scheduler.pool.workers.has(workerId)) continue;
        log.warn({ workerId }, "a worker that nobody knows is stopped");
        await runtime.stop(workerId);
      }
      // What had been leased for it is lost now, and need not wait for the next comparison.
      if (isShared(runtime) && found.length > 0) this.#scheduler.leases.compareSoon();
    } catch (err) {
      log.warn({ err }, "the workers that exist could not be compared with those that are known; trying again");
    }
  }

  async #orphans(runtime: SharedRuntime): Promise<string[]> {
    const { dispatch, schedulerId } = this.#scheduler.settings;
    const strangers = (await runtime.listInstallation()).filter(({ workerId }) => !this.#isKnown(workerId));
    const firstSeen = new Map<string, number>();
    for (let start = 0; start < strangers.length; start += MOST_WORKERS) {
      const workers = strangers.slice(start, start + MOST_WORKERS);
      const { schedulerIds } = await dispatch.findOwners({
        schedulerId,
        workers: workers.map((found) => ({ workerId: found.workerId, schedulerId: found.schedulerId })),
      });
      const now = this.#scheduler.monotonic();
      for (const [index, { workerId }] of workers.entries()) {
        const owner = schedulerIds[index] ?? "";
        if (owner !== "" && owner !== schedulerId) continue;
        firstSeen.set(workerId, this.#firstSeen.get(workerId) ?? now);
      }
    }
    this.#firstSeen = firstSeen;
    const since = this.#scheduler.monotonic() - LIMITS.workerOrphanMs;
    return [...firstSeen].filter(([, at]) => at <= since).map(([workerId]) => workerId);
  }

  #isKnown(workerId: string): boolean {
    return this.#scheduler.pool.workers.has(workerId);
  }
}
