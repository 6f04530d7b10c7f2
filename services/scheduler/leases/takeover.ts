/**
 * Workers that outlive their scheduler go on with whichever they reach. The invocation service decides whose a worker is:
 * whoever holds the executions that it runs. All that a scheduler remembers of its own workers may be out of date, if it
 * stood still or was cut off meanwhile.
 *
 * T1. A worker that comes with executions is taken only with those that the invocation service gives to this scheduler; so
 *     the scheduler of the newest connection holds them, with an epoch that fences all others. Of what it does not name,
 *     that counts as never given to it (C4) which is still leased here: it may have ended with another scheduler.
 * T2. A worker that was taken over is given nothing more, and ends with the last that it brought: how often it was used
 *     before is not known here, and another scheduler may wait for its end to give back a slot. The same holds for one that
 *     comes back to its own. One that holds nothing is not taken over and ends itself.
 * T3. A worker that has executions is stopped only after the question whose it is, unless it has just said that all have
 *     ended. One that is another scheduler's is forgotten, and its slots with it: they come back there.
 *     The refusal of an end as not current does not say that all have ended: its execution may be leased here by an adoption
 *     whose answer was lost, with an end that is still to be stored.
 * T4. What a worker runs that was not given to this scheduler is not current any more, and the worker is stopped for it.
 * T5. A scheduler that is stopped ends only workers that have nothing; the others go on elsewhere, as after its death.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { LeasedExecution } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { HeldExecution } from "../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { permissionDenied, Refusal } from "../../platform/errors.js";
import { newRun, type Run } from "../run.js";
import type { SharedRuntime } from "../runtime/runtime.js";
import type { Scheduler } from "../scheduler.js";
import { functionOf } from "../workers/deliveries.js";
import type { PooledWorker } from "../workers/worker_pool.js";

/** How long to wait before an invocation service that does not answer is asked again. */
const ASK_AGAIN_MS = 500;

/** Executions that are leased by this scheduler, and their epochs. */
type Leased = ReadonlyMap<string, number | undefined>;
type WhenOwn = (leased: Leased) => void;

export class Takeover {
  readonly #scheduler: Scheduler;
  readonly #runtime: SharedRuntime;
  /** Claims under way, by worker. */
  readonly #claims = new Map<string, Promise<unknown>>();
  /** What is to be done with workers of which it is being asked whose they are. */
  readonly #questions = new Map<PooledWorker, WhenOwn[]>();

  constructor(scheduler: Scheduler, runtime: SharedRuntime) {
    this.#scheduler = scheduler;
    this.#runtime = runtime;
  }

  /**
   * Makes a worker that has come with these executions, known or not, one of the pool (T1). Connections of one worker are
   * claimed one after another, as they came. `signal` aborts when the connection is gone.
   *
   * @throws Refusal PermissionDenied where nothing that it holds is current, Unavailable where that cannot be known now
   */
  async claim(workerId: string, held: readonly HeldExecution[], signal: AbortSignal): Promise<PooledWorker> {
    const before = this.#claims.get(workerId);
    const claiming = Promise.resolve(before)
      .catch(() => {})
      .then(() => this.#claim(workerId, held, signal));
    this.#claims.set(workerId, claiming);
    try {
      return await claiming;
    } finally {
      if (this.#claims.get(workerId) === claiming) this.#claims.delete(workerId);
    }
  }

  /** What a worker runs, as it says itself (T4). */
  heard(worker: PooledWorker, executionIds: readonly string[]): void {
    const { refused } = worker;
    if (refused === undefined) return;
    worker.refused = undefined;
    if (!executionIds.some((id) => refused.has(id))) return;
    this.#scheduler.settings.log.warn({ workerId: worker.id }, "a worker runs what was replaced, and is stopped");
    this.#scheduler.pool.stop(worker);
  }

  /** Forgets a worker if it is another scheduler's (T3), and otherwise does what is to be done with it. */
  async settle(worker: PooledWorker, whenOwn: WhenOwn): Promise<void> {
    const { pool, settings } = this.#scheduler;
    const others = this.#questions.get(worker);
    if (others !== undefined) {
      others.push(whenOwn);
      return;
    }
    const questions = [whenOwn];
    this.#questions.set(worker, questions);
    while (pool.workers.get(worker.id) === worker && worker.phase !== "stopping" && !this.#scheduler.stopped) {
      try {
        const leased = await this.#settleOnce(worker, AbortSignal.timeout(LIMITS.workerFenceMs));
        if (leased === "again") continue;
        if (leased !== "another's") for (const act of questions) act(leased);
        break;
      } catch (err) {
        settings.log.warn({ err, workerId: worker.id }, "whose a worker is cannot be known now; asking again");
        await delay(ASK_AGAIN_MS);
      }
    }
    this.#questions.delete(worker);
  }

  /** The end of an execution was not taken, since it is not current any more as this scheduler has it. */
  async endRefused(worker: PooledWorker, run: Run): Promise<void> {
    const { executionId } = run.ref;
    await this.settle(worker, (leased) => {
      if (this.#scheduler.runs.get(executionId) !== run) return; // brought again meanwhile
      if (leased.has(executionId)) {
        // It was adopted for this scheduler, which was not told: its worker is to bring it again, with its end.
        worker.session?.close();
        return;
      }
      // It has ended with another scheduler: the worker ends with its others (T2).
      this.#scheduler.drop(run);
      worker.session?.acknowledge(executionId, "at once");
      retire(worker);
      this.#scheduler.wake();
    });
  }

  /** Leaves all workers that have executions to whichever scheduler they reach, this one's next life among them (T5). */
  handOver(): void {
    for (const worker of this.#scheduler.pool.workers.values()) if (worker.running.size > 0) this.#forget(worker);
  }

  async #claim(workerId: string, held: readonly HeldExecution[], signal: AbortSignal): Promise<PooledWorker> {
    const { pool, leases, stopped } = this.#scheduler;
    const unexpected = permissionDenied(`worker ${workerId} is not expected`);
    if (stopped) throw new Refusal("Unavailable", "the scheduler is stopping");
    const known = pool.workers.get(workerId);
    if (known?.phase === "stopping") throw unexpected;
    if (known !== undefined) known.claims += 1;
    if (known === undefined && (held.length === 0 || !(await this.#runtime.adopt(workerId)))) throw unexpected;
    try {
      signal.throwIfAborted(); // it may be with another by now
      const executions = await leases.adopt(workerId, held);
      if (this.#scheduler.stopped) throw new Refusal("Unavailable", "the scheduler is stopping");
      // Looked up again: it may have ended meanwhile.
      const worker = pool.workers.get(workerId) ?? (known === undefined ? this.#take(workerId, executions) : undefined);
      if (worker === undefined || worker.phase === "stopping") throw unexpected;
      worker.claims += 1;
      this.#hold(worker, held, executions);
      if (known !== undefined) await this.#lookAtUnnamed(known, held);
      return worker;
    } catch (error) {
      if (known === undefined) this.#runtime.release(workerId);
      throw error;
    }
  }

  /** One that nobody here knew (T2). */
  #take(workerId: string, executions: readonly LeasedExecution[]): PooledWorker | undefined {
    const [first] = executions;
    if (first === undefined) return undefined;
    const { pool, settings } = this.#scheduler;
    settings.log.info({ workerId, executions: executions.length }, "a worker was taken over");
    return pool.adopt(workerId, functionOf(newRun(first)));
  }

  #hold(worker: PooledWorker, held: readonly HeldExecution[], executions: readonly LeasedExecution[]): void {
    const { runs, leases } = this.#scheduler;
    const refused = new Set(held.map(({ executionId }) => executionId));
    for (const execution of executions) {
      const run = newRun({ ...execution, function: execution.function ?? worker.bound?.spec });
      const { executionId, epoch } = run.ref;
      refused.delete(executionId);
      const known = runs.get(executionId);
      if (known?.ref.epoch === epoch && known.workerId === worker.id) {
        worker.running.add(executionId);
        continue;
      }
      if (known !== undefined) {
        this.#scheduler.drop(known);
        retire(worker);
      }
      run.workerId = worker.id;
      run.wasSent = true;
      runs.set(executionId, run);
      worker.running.add(executionId);
    }
    worker.refused = refused;
    for (const executionId of refused) {
      const run = runs.get(executionId);
      // The end of one that has ended here is on its way, or stored. Any other has ended elsewhere.
      if (run === undefined || run.workerId !== worker.id || (run.ended && !run.foreign)) continue;
      this.#scheduler.drop(run);
      retire(worker);
    }
    // What was to be interrupted is said with each renewal.
    if (executions.length > 0) leases.renew();
  }

  /** What this scheduler believes to be in a worker, which does not name it, is elsewhere or never reached it. */
  async #lookAtUnnamed(worker: PooledWorker, held: readonly HeldExecution[]): Promise<void> {
    const named = new Set(held.map(({ executionId }) => executionId));
    const unnamed = [...worker.running].filter((executionId) => !named.has(executionId));
    if (unnamed.length === 0) return;
    const leased = await this.#leasedHere(AbortSignal.timeout(LIMITS.workerFenceMs));
    const waiting: Run[] = [];
    for (const executionId of unnamed) {
      const run = this.#scheduler.runs.get(executionId);
      if (run === undefined) worker.running.delete(executionId);
      else if (run.ended && !run.foreign) continue;
      else if (leased.get(executionId) === run.ref.epoch) waiting.push(run);
      else {
        this.#scheduler.drop(run);
        retire(worker);
      }
    }
    // A worker that ends is given nothing more (T2), and any other will be given it again (C4).
    if (isRetired(worker)) for (const run of waiting) this.#scheduler.placeAgain(run);
  }

  /** The epochs of all executions that this scheduler holds. */
  async #leasedHere(signal: AbortSignal): Promise<Leased> {
    const { dispatch, schedulerId } = this.#scheduler.settings;
    const { leases } = await dispatch.listLeases({ schedulerId }, { signal });
    return new Map(leases.map(({ ref }) => [ref?.executionId ?? "", ref?.epoch]));
  }

  /** What this scheduler holds, where the worker is its own. "again": it came back while that was asked. */
  async #settleOnce(worker: PooledWorker, signal: AbortSignal): Promise<Leased | "another's" | "again"> {
    // What a claim has been given is known here only when it is over, and then it is another epoch that counts.
    await this.#claims.get(worker.id)?.catch(() => {});
    const { claims } = worker;
    const isOutOfDate = () => worker.claims !== claims;
    const owner = await this.#ownerOf(worker.id, signal);
    if (isOutOfDate()) return "again";
    const leased = await this.#leasedHere(signal);
    if (isOutOfDate()) return "again";
    if (owner === this.#scheduler.settings.schedulerId) return leased;
    for (const run of this.#scheduler.runs.values()) {
      if (run.workerId !== worker.id) continue;
      if (leased.get(run.ref.executionId) !== run.ref.epoch) this.#scheduler.drop(run);
      // What is leased here still, the worker may have or not: it is answered for when it is brought, or when the worker is
      // gone, which the runtime tells.
    }
    this.#scheduler.settings.log.warn({ workerId: worker.id }, "a worker is with another scheduler");
    this.#forget(worker);
    return "another's";
  }

  async #ownerOf(workerId: string, signal: AbortSignal): Promise<string> {
    const { dispatch, schedulerId } = this.#scheduler.settings;
    const workers = [{ workerId, schedulerId }];
    const { schedulerIds } = await dispatch.findOwners({ schedulerId, workers }, { signal });
    // Nobody: not even the lease of this scheduler lasts. The worker is in nobody else's pool.
    return schedulerIds[0] || schedulerId;
  }

  #forget(worker: PooledWorker): void {
    const { pool } = this.#scheduler;
    pool.workers.delete(worker.id);
    worker.session?.close();
    this.#runtime.release(worker.id);
    this.#scheduler.wake();
  }
}

function isRetired({ phase, taken }: PooledWorker): boolean {
  return phase === "draining" && taken === Number.POSITIVE_INFINITY;
}

/** Lets it finish what it runs, and holds its slots until it is gone (T2). */
export function retire(worker: PooledWorker): void {
  if (worker.phase === "active" || worker.phase === "spare") worker.phase = "draining";
  worker.taken = Number.POSITIVE_INFINITY;
}
