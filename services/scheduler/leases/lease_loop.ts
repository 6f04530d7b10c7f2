/**
 * Leasing: takes executions when there is room for them, keeps the lease alive, hears of interruptions, and compares what
 * the invocation service says that this scheduler holds with what it knows.
 *
 * From the last renewal before a scheduler stands still or is cut off: it answers its workers for up to 9 s more, they go
 * to another scheduler 9 s after the last answer (at 18 s) and end themselves 20 s after it (at 29 s), and its lease is
 * over at 30 s. A scheduler that is killed is noticed at once.
 */
import { setTimeout as delay } from "node:timers/promises";
import type {
  ExecutionReport,
  HeldLease,
  LeasedExecution,
  StreamLeasesRequest,
} from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { HeldExecution } from "../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { Refusal } from "../../platform/errors.js";
import { isUnimplemented } from "../../platform/rpc/service_errors.js";
import type { Plan } from "../plan.js";
import { newRun, type Run, threw } from "../run.js";
import { isShared } from "../runtime/runtime.js";
import type { Scheduler } from "../scheduler.js";
import { type Asking, type Lessor, Lessors } from "./lessors.js";

/** How long one request waits for something to lease. */
const WAIT_MS = 10_000;
const EXCLUDING_WAIT_MS = 200;
/** How much longer its end may take where there is another place to ask: one that hangs must not keep its room for long. */
const ANSWER_MS = 2_000;
/** The same of the only place. */
const ONLY_ANSWER_MS = 10_000;
const RETRY_MS = 500;
/** How often to compare leases with runs. */
const RECONCILE_INTERVAL_MS = 30_000;
/** The same after a lease that failed. */
const DOUBT_INTERVAL_MS = 1_500;
/** Executions that are remembered as given back. */
const MOST_GIVEN_BACK = 10_000;

export class LeaseLoop {
  readonly #scheduler: Scheduler;
  readonly #timers: NodeJS.Timeout[] = [];
  #doubtTimer: NodeJS.Timeout | undefined;
  #comparisonsDue = 0;
  readonly #unsubscribes: (() => void)[] = [];
  readonly #lessors: Lessors;
  #renewing: Promise<unknown> | undefined;
  #renewAgain = false;
  #hearing: Promise<unknown> | undefined;
  #hearAgain = false;
  /** Leases that the last comparison found and that nothing here knew. */
  #strange = new Set<string>();
  /** Leases from before this start, until they are known or lost. */
  #inherited = new Set<string>();
  /** What was leased to an answer that never came, and was given back: not to be begun, should it come after all. */
  readonly #givenBack = new Set<string>();
  #startedAt = 0;
  /** Monotonic time of the last renewal, when it was sent. */
  #renewedAt = Number.NEGATIVE_INFINITY;
  /** Whether the lease was over, so that what is known here is to be compared before anything is done with it. */
  #mustCompare = false;
  readonly #stopping = new AbortController();
  /** Aborted when no answer to a lease is waited for any more. */
  readonly #deaf = new AbortController();

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
    const { dispatch, lessors = [] } = scheduler.settings;
    const lease = (asking: Asking, excluded: readonly string[]) => this.#lease(asking, excluded);
    this.#lessors = new Lessors(lessors, dispatch, lease, () => scheduler.wake());
  }

  async start(): Promise<void> {
    const { bus, schedulerId } = this.#scheduler.settings;
    this.#unsubscribes.push(
      bus.subscribe(
        "interruption",
        (event) => {
          if (event.$case === "interruptions" && event.value.schedulerIds.includes(schedulerId)) this.#hear();
        },
        () => this.renew(),
      ),
    );
    this.#startedAt = this.#scheduler.monotonic();
    // What this scheduler held in an earlier life has no worker any more, unless workers outlive it.
    await this.#untilAnswered(() => this.#reconcile(true));
    await this.#untilAnswered(() => this.#renewOnce()).catch((error: unknown) => {
      if (!(error instanceof Refusal) || error.reason !== "ResourceExhausted") throw error;
      // On a full disk there is no lease yet, and nothing begins; what is stored is shown all the same.
      this.renew();
    });
    if (this.#stopping.signal.aborted) return;
    this.#timers.push(
      setInterval(() => this.renew(), LIMITS.leaseRenewIntervalMs),
      setInterval(() => void this.#try(() => this.#reconcile(false)), RECONCILE_INTERVAL_MS),
    );
  }

  /** Whether this scheduler may speak for its workers: its lease lasts for longer than they do without it. */
  get isTrusted(): boolean {
    return this.trustedForMs >= 0;
  }

  get trustedForMs(): number {
    return this.#renewedAt + LIMITS.leaseTrustMs - this.#scheduler.monotonic();
  }

  /** Takes the leases of what a worker has brought; answers those that are held now, in this order. */
  async adopt(workerId: string, held: readonly HeldExecution[]): Promise<LeasedExecution[]> {
    const { dispatch, schedulerId } = this.#scheduler.settings;
    const adopted: LeasedExecution[] = [];
    // To adopt renews as well, and would hide that the lease was over.
    if (!this.isTrusted) await this.#renewOnce();
    for (let start = 0; start < held.length; start += LIMITS.workersPerRequest) {
      const asked = held
        .slice(start, start + LIMITS.workersPerRequest)
        .map(({ executionToken }) => ({ executionToken, workerId }));
      const sentAt = this.#scheduler.monotonic();
      const request = { schedulerId, leaseDurationMs: LIMITS.leaseDurationMs, executions: asked };
      const { executions } = await dispatch.adoptExecutions(request, this.#bounded());
      this.#renewedAt = Math.max(this.#renewedAt, sentAt);
      adopted.push(...(executions as LeasedExecution[]));
    }
    return adopted;
  }

  /** Compares twice, a moment from now. */
  compareSoon(): void {
    this.#doubt();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#timers) clearInterval(timer);
    clearInterval(this.#doubtTimer);
    for (const unsubscribe of this.#unsubscribes) unsubscribe();
    await Promise.all([this.#endLeases(), this.#renewing, this.#hearing]);
  }

  /** What is leased in this moment is still answered, and so can be given back: nobody else would ever know of it. */
  async #endLeases(): Promise<void> {
    const { schedulerId } = this.#scheduler.settings;
    const { signal } = this.#deaf;
    const nothing = {
      schedulerId,
      maxCount: 0,
      excludedQueues: [],
      leaseDurationMs: LIMITS.leaseDurationMs,
      waitMs: 0,
    };
    const bound = setTimeout(() => this.#deaf.abort(), ANSWER_MS);
    // To ask anew ends the wait. One that does not answer now is not waited for.
    await this.#lessors.stop((lessor) => void lessor.leaseInvocations(nothing, { signal }).catch(() => {}));
    clearTimeout(bound);
    this.#deaf.abort();
  }

  /**
   * Asks for as much as the plan has room for, unless it is asking already for about as much.
   *
   * @param waiting what has no worker yet
   * @param imageless what can have none until its image is there
   */
  offer(plan: Plan, waiting: readonly Run[], imageless: readonly Run[]): void {
    if (this.#stopping.signal.aborted) return;
    const excluded = plan.roomForOthers ? imageless : [...waiting, ...imageless];
    const queues = new Set(excluded.map(({ leased }) => `${leased.projectId}/${leased.function?.functionName}`));
    const named = [...queues].slice(0, LIMITS.excludedQueues);
    this.#lessors.offer(plan.room - (plan.roomForOthers ? waiting.length : 0), named);
  }

  /** Answers whether it was answered as it should be. */
  async #lease(asking: Asking, excludedQueues: readonly string[]): Promise<boolean> {
    const { lessor, count, receivedBefore, received, isDone } = asking;
    const { dispatch, schedulerId, log } = this.#scheduler.settings;
    const stopped = this.#stopping.signal;
    // What is excluded now is not for long.
    const waitMs = excludedQueues.length > 0 ? EXCLUDING_WAIT_MS : WAIT_MS;
    const leaseDurationMs = LIMITS.leaseDurationMs;
    const sentAt = performance.now();
    let hasAny = false;
    const take = (executions: readonly LeasedExecution[]) => {
      received(executions.length);
      hasAny ||= executions.length > 0;
      const leased = executions.filter(({ ref }) => !this.#givenBack.has(ref?.executionId ?? ""));
      if (leased.length > 0) this.#scheduler.take(leased.map((each) => newRun(each, lessor)));
    };
    try {
      const excluded = [...excludedQueues];
      const request = { schedulerId, maxCount: count, excludedQueues: excluded, leaseDurationMs, waitMs };
      const answerMs = lessor === dispatch ? ONLY_ANSWER_MS : ANSWER_MS;
      const signal = AbortSignal.any([this.#deaf.signal, AbortSignal.timeout(waitMs + answerMs)]);
      for await (const executions of leasesOf(lessor, { ...request, receivedCount: receivedBefore }, signal))
        take(executions);
      // One that did not wait is about to end, or had a request of this scheduler that came by another address.
      return hasAny || isDone() || performance.now() - sentAt > waitMs / 2;
    } catch (err) {
      if (stopped.aborted) return false;
      log.warn({ err }, "a replica of the invocation service does not lease; trying again");
      this.#doubt();
      return false;
    }
  }

  /** A replica that hangs must not take the time for which this scheduler is trusted: another one is asked. */
  #bounded(): { signal: AbortSignal } {
    return { signal: AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(LIMITS.answerMs)]) };
  }

  /** A lease may have been made whose answer was lost. Two comparisons find it, which need not wait for their time. */
  #doubt(): void {
    if (this.#stopping.signal.aborted) return;
    this.#comparisonsDue = 2;
    this.#doubtTimer ??= setInterval(() => {
      this.#comparisonsDue -= 1;
      if (this.#comparisonsDue === 0) {
        clearInterval(this.#doubtTimer);
        this.#doubtTimer = undefined;
      }
      void this.#try(() => this.#reconcile(false));
    }, DOUBT_INTERVAL_MS);
  }

  renew(): void {
    if (this.#renewing !== undefined) {
      this.#renewAgain = true;
      return;
    }
    this.#renewAgain = false;
    this.#renewing = this.#try(() => this.#renewOnce()).then((isDone) => {
      this.#renewing = undefined;
      if ((this.#renewAgain || !isDone) && !this.#stopping.signal.aborted) this.renew();
    });
  }

  /** Something is to be interrupted. Asks for that alone: a renewal waits for the disk. */
  #hear(): void {
    this.#hearAgain = this.#hearing !== undefined;
    this.#hearing ??= this.#hearOnce().finally(() => {
      this.#hearing = undefined;
      if (this.#hearAgain && !this.#stopping.signal.aborted) this.#hear();
    });
  }

  async #hearOnce(): Promise<void> {
    const { dispatch, schedulerId } = this.#scheduler.settings;
    try {
      const { interruptions } = await dispatch.listInterruptions({ schedulerId }, this.#bounded());
      for (const interruption of interruptions) this.#scheduler.interrupt(interruption);
    } catch {
      if (!this.#stopping.signal.aborted) this.renew(); // which tells it too, and is tried again until it is done
    }
  }

  async #renewOnce(): Promise<void> {
    const { dispatch, schedulerId } = this.#scheduler.settings;
    const sentAt = this.#scheduler.monotonic();
    const request = { schedulerId, leaseDurationMs: LIMITS.leaseDurationMs };
    const { interruptions, expired } = await dispatch.renewLeases(request, this.#bounded());
    // A lease that waited at the service while this scheduler stood still may have renewed it, which then is not told.
    if (expired || sentAt - this.#renewedAt > LIMITS.leaseDurationMs) this.#mustCompare = true;
    for (const interruption of interruptions) this.#scheduler.interrupt(interruption);
    if (this.#mustCompare) await this.#reconcile(false);
    this.#mustCompare = false;
    const wasTrusted = this.isTrusted;
    this.#renewedAt = Math.max(this.#renewedAt, sentAt);
    if (!wasTrusted) this.#scheduler.wake();
  }

  /** `fresh`: this scheduler has no workers yet. */
  async #reconcile(fresh: boolean): Promise<void> {
    const { dispatch, schedulerId, log } = this.#scheduler.settings;
    const known = [...this.#scheduler.runs.values()];
    const { leases } = await dispatch.listLeases({ schedulerId }, this.#bounded());
    const held = new Map(leases.map(({ ref }) => [ref?.executionId ?? "", ref?.epoch]));
    if (fresh) this.#inherited = new Set(held.keys());
    const isLost = await this.#lossOf(leases as HeldLease[], fresh);
    const strange = new Set<string>();
    for (const lease of leases as HeldLease[]) {
      const { ref } = lease;
      if (ref === undefined || this.#scheduler.runs.has(ref.executionId)) continue;
      strange.add(ref.executionId);
      if (!isLost(lease, ref.executionId)) continue;
      log.warn({ executionId: ref.executionId }, "a lease without a worker is given back");
      const event = this.#lossEvent(lease, ref.executionId, fresh);
      this.#scheduler.reporters.of(undefined).report({ ref, event }, () => {});
    }
    this.#strange = strange;
    // Their workers come or end within seconds.
    if (strange.size > 0 && isShared(this.#scheduler.settings.runtime)) this.#doubt();
    // Executions that are not ours any more. What was leased after the question was asked is not in the answer.
    for (const run of known) {
      const { executionId } = run.ref;
      const isHeld = held.get(executionId) === run.ref.epoch;
      if (isHeld || run.ended || this.#scheduler.runs.get(executionId) !== run) continue;
      log.warn({ executionId, workerId: run.workerId }, "a lease was lost: its worker, if any, is stopped");
      this.#scheduler.disown(run);
    }
  }

  /** What is to be reported of a lease that is lost. */
  #lossEvent({ workerId, ended }: HeldLease, executionId: string, fresh: boolean): ExecutionReport["event"] {
    if (ended) return { $case: "released", value: {} };
    const isInherited = fresh || this.#inherited.has(executionId);
    if (!isInherited && workerId === "" && !this.#givenBack.has(executionId)) {
      // Its answer was lost, so no worker was given it: that was no attempt.
      if (this.#givenBack.size >= MOST_GIVEN_BACK) this.#givenBack.clear();
      this.#givenBack.add(executionId);
      this.#doubt();
      return { $case: "givenBack", value: {} };
    }
    return { $case: "ended", value: threw("WorkerLostError: the worker was lost when its scheduler ended", true) };
  }

  /** Which of the leases that nobody here knows are lost. */
  async #lossOf(
    leases: readonly HeldLease[],
    fresh: boolean,
  ): Promise<(lease: HeldLease, executionId: string) => boolean> {
    const { runtime } = this.#scheduler.settings;
    // One that was leased a moment ago may not have arrived here yet: it is lost if it is strange twice.
    const isStrangeAgain = (executionId: string) => this.#strange.has(executionId);
    if (!isShared(runtime)) return (_lease, executionId) => fresh || isStrangeAgain(executionId);
    const isAnyStrange = leases.some(({ ref }) => !this.#scheduler.runs.has(ref?.executionId ?? ""));
    // A runtime that does not answer now has lost nothing.
    const found = isAnyStrange ? await runtime.listInstallation().catch(() => undefined) : [];
    // The remains of one that has ended run nothing, and the engine may be unable to remove them.
    const living = found?.filter(({ hasEnded }) => hasEnded !== true);
    const existing = living && new Set(living.map(({ workerId }) => workerId));
    const isLate = this.#scheduler.monotonic() - this.#startedAt > LIMITS.workerOrphanMs;
    return ({ workerId }, executionId) => {
      // Its worker comes, or ends itself, or is stopped as a stranger; its slot is free when the worker is gone.
      if (workerId !== "") return existing?.has(workerId) === false;
      // A worker may have been given it by the earlier life of this scheduler, and may be about to come with it.
      return this.#inherited.has(executionId) ? isLate : isStrangeAgain(executionId);
    };
  }

  /** A service that does not answer yet is waited for; one that answers with a fault is not. */
  async #untilAnswered(work: () => Promise<void>): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      try {
        await work();
        return;
      } catch (error) {
        if (!(error instanceof Refusal) || error.reason !== "Unavailable") throw error;
        await this.#pause();
      }
    }
  }

  /** A moment, and none where this is to stop. */
  async #pause(): Promise<void> {
    await delay(RETRY_MS, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
  }

  /** Answers whether it was done. */
  async #try(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (err) {
      if (!this.#stopping.signal.aborted) {
        this.#scheduler.settings.log.warn({ err }, "the invocation service does not answer; trying again");
        await this.#pause();
      }
      return false;
    }
  }
}

async function* leasesOf(
  lessor: Lessor,
  request: StreamLeasesRequest,
  signal: AbortSignal,
): AsyncGenerator<readonly LeasedExecution[]> {
  try {
    for await (const { executions } of lessor.streamLeases(request, { signal })) yield executions as LeasedExecution[];
  } catch (error) {
    if (!isUnimplemented(error)) throw error;
    // A replica of before, while an installation is upgraded, answers once.
    yield (await lessor.leaseInvocations(request, { signal })).executions as LeasedExecution[];
  }
}
