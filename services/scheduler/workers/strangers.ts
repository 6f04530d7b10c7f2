/**
 * Workers that exist and that nobody knows: left by a scheduler that died, or by an answer of the runtime that was lost.
 * Without a shared runtime they are stopped as they are found.
 *
 * N1. With a shared one, a worker is stopped when for `workerOrphanMs` it was in no pool here and its owner was this
 *     scheduler, or nobody that lives: by then it has come to some scheduler, or has ended itself and only its remains are
 *     left. So a scheduler that starts again gives its workers time to find it.
 * N2. What a shared runtime holds open for a scheduler goes when that scheduler has not lived for as long, and when none of
 *     its workers uses it any more. One that comes back finds it gone, and makes it anew.
 */
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { type FoundWorker, isShared, type SharedRuntime } from "../runtime/runtime.js";
import type { Scheduler } from "../scheduler.js";

export class Strangers {
  readonly #scheduler: Scheduler;
  /** When each was first seen to be without an owner, in monotonic time. */
  #firstSeen = new Map<string, number>();
  /** Stops under way. One takes for ever where a container cannot be removed: no other, and no look, waits for it. */
  readonly #stopping = new Set<string>();
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
      if (isShared(runtime)) await this.#lookAtAll(runtime);
      else this.#stop(await runtime.list());
    } catch (err) {
      log.warn({ err }, "the workers that exist could not be compared with those that are known; trying again");
    }
  }

  async #lookAtAll(runtime: SharedRuntime): Promise<void> {
    const { schedulerId: own } = this.#scheduler.settings;
    const workers = (await runtime.listInstallation()).filter(({ workerId }) => !this.#isKnown(workerId));
    const others = ((await runtime.holders?.listSchedulers()) ?? []).filter((other) => other !== own);
    // Nobody has a worker of a scheduler's name: asked so, the answer is whether that scheduler lives.
    const asked = [...workers, ...others.map((other) => ({ workerId: other, schedulerId: other }))];
    const ownerless = await this.#ownerless(asked);
    const orphans = workers.filter(({ workerId }) => ownerless.has(workerId));
    this.#stop(orphans.map(({ workerId }) => workerId)); // N1
    for (const other of others) if (ownerless.has(other)) await runtime.holders?.removeOf(other); // N2
  }

  #stop(workerIds: readonly string[]): void {
    for (const workerId of workerIds) {
      if (this.#isKnown(workerId) || this.#stopping.has(workerId)) continue;
      this.#stopping.add(workerId);
      void this.#stopOne(workerId).finally(() => this.#stopping.delete(workerId));
    }
  }

  async #stopOne(workerId: string): Promise<void> {
    const { runtime, log } = this.#scheduler.settings;
    log.warn({ workerId }, "a worker that nobody knows is stopped");
    try {
      await runtime.stop(workerId);
      // What had been leased for it is lost now, and need not wait for the next comparison.
      if (isShared(runtime)) this.#scheduler.leases.compareSoon();
    } catch (err) {
      log.warn({ err, workerId }, "a worker that nobody knows could not be stopped; trying again");
    }
  }

  /** Those that have had no owner for long enough. */
  async #ownerless(found: readonly FoundWorker[]): Promise<ReadonlySet<string>> {
    const { dispatch, schedulerId } = this.#scheduler.settings;
    const firstSeen = new Map<string, number>();
    for (let start = 0; start < found.length; start += LIMITS.workersPerRequest) {
      const workers = found.slice(start, start + LIMITS.workersPerRequest);
      const { schedulerIds } = await dispatch.findOwners({
        schedulerId,
        workers: workers.map((worker) => ({ workerId: worker.workerId, schedulerId: worker.schedulerId })),
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
    return new Set([...firstSeen].filter(([, at]) => at <= since).map(([workerId]) => workerId));
  }

  #isKnown(workerId: string): boolean {
    return this.#scheduler.pool.workers.has(workerId);
  }
}
