/**
 * Leasing: takes executions when there is room for them, keeps the lease alive, hears of interruptions, and compares what
 * the invocation service says that this scheduler holds with what it knows.
 */
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { Refusal } from "../platform/errors.js";
import type { Plan } from "./plan.js";
import { newRun, type Run, threw } from "./run.js";
import type { Scheduler } from "./scheduler.js";

/** How long one request waits for something to lease. */
const WAIT_MS = 10_000;
const EXCLUDING_WAIT_MS = 200;
const RETRY_MS = 500;
/** How often to compare leases with runs. */
const RECONCILE_INTERVAL_MS = 30_000;
/** The same after a lease that failed. */
const DOUBT_INTERVAL_MS = 1_500;

export class LeaseLoop {
  readonly #scheduler: Scheduler;
  readonly #timers: NodeJS.Timeout[] = [];
  #doubtTimer: NodeJS.Timeout | undefined;
  #comparisonsDue = 0;
  readonly #unsubscribes: (() => void)[] = [];
  /** Requests on their way; all but the newest, which replaced them, are about to end. */
  readonly #leasing = new Set<Promise<unknown>>();
  /** What the newest of them asks for; 0: there is none. */
  #asked = 0;
  #newest: Promise<unknown> | undefined;
  #renewing: Promise<unknown> | undefined;
  #renewAgain = false;
  /** Leases that the last comparison found and that nothing here knew. */
  #strange = new Set<string>();
  readonly #stopping = new AbortController();

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  async start(): Promise<void> {
    const { bus, schedulerId } = this.#scheduler.settings;
    this.#unsubscribes.push(
      bus.subscribe(
        "interruption",
        (event) => {
          if (event.$case === "interruptions" && event.value.schedulerIds.includes(schedulerId)) this.#renew();
        },
        () => this.#renew(),
      ),
    );
    // What this scheduler held in an earlier life has no worker any more.
    await this.#untilAnswered(() => this.#reconcile(true));
    if (this.#stopping.signal.aborted) return;
    this.#timers.push(
      setInterval(() => this.#renew(), LIMITS.leaseRenewIntervalMs),
      setInterval(() => void this.#try(() => this.#reconcile(false)), RECONCILE_INTERVAL_MS),
    );
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#timers) clearInterval(timer);
    clearInterval(this.#doubtTimer);
    for (const unsubscribe of this.#unsubscribes) unsubscribe();
    await Promise.all([...this.#leasing, this.#renewing]);
  }

  /** Asks for as much as the plan has room for, unless it is asking already for about as much. */
  offer(plan: Plan, waiting: readonly Run[]): void {
    const count = Math.min(plan.room - (plan.roomForOthers ? waiting.length : 0), LIMITS.executionsPerLease);
    if (count < Math.max(1, 2 * this.#asked) || this.#stopping.signal.aborted) return;
    const excludedQueues = plan.roomForOthers
      ? []
      : [...new Set(waiting.map(({ leased }) => `${leased.projectId}/${leased.function?.functionName}`))];
    this.#asked = count;
    const leasing = this.#try(() => this.#lease(count, excludedQueues)).finally(() => {
      this.#leasing.delete(leasing);
      if (this.#newest === leasing) this.#asked = 0;
      this.#scheduler.wake();
    });
    this.#newest = leasing;
    this.#leasing.add(leasing);
  }

  async #lease(maxCount: number, excludedQueues: string[]): Promise<void> {
    const { dispatch, schedulerId } = this.#scheduler.settings;
    // What is excluded now is not for long.
    const waitMs = excludedQueues.length > 0 ? EXCLUDING_WAIT_MS : WAIT_MS;
    const request = { schedulerId, maxCount, excludedQueues, leaseDurationMs: LIMITS.leaseDurationMs, waitMs };
    try {
      const { executions } = await dispatch.leaseInvocations(request, { signal: this.#stopping.signal });
      if (executions.length > 0) this.#scheduler.take(executions.map(newRun));
    } catch (error) {
      this.#doubt();
      throw error;
    }
  }

  /** A lease may have been made whose answer was lost. Two comparisons find it, which need not wait for their time. */
  #doubt(): void {
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

  #renew(): void {
    if (this.#renewing !== undefined) {
      this.#renewAgain = true;
      return;
    }
    this.#renewAgain = false;
    this.#renewing = this.#try(async () => {
      const { dispatch, schedulerId } = this.#scheduler.settings;
      const request = { schedulerId, leaseDurationMs: LIMITS.leaseDurationMs };
      const { interruptions, expired } = await dispatch.renewLeases(request, { signal: this.#stopping.signal });
      for (const interruption of interruptions) this.#scheduler.interrupt(interruption);
      if (expired) await this.#reconcile(false);
    }).finally(() => {
      this.#renewing = undefined;
      if (this.#renewAgain && !this.#stopping.signal.aborted) this.#renew();
    });
  }

  /** `fresh`: this scheduler has no workers yet, so that whatever it holds is lost. */
  async #reconcile(fresh: boolean): Promise<void> {
    const { dispatch, schedulerId, log } = this.#scheduler.settings;
    const known = [...this.#scheduler.runs.values()];
    const { leases } = await dispatch.listLeases({ schedulerId }, { signal: this.#stopping.signal });
    const held = new Set(leases.map(({ ref }) => ref?.executionId ?? ""));
    const strange = new Set<string>();
    for (const { ref, ended } of leases) {
      if (ref === undefined || this.#scheduler.runs.has(ref.executionId)) continue;
      strange.add(ref.executionId);
      // One that was leased a moment ago may not have arrived here yet: it is lost if it is strange twice.
      if (!fresh && !this.#strange.has(ref.executionId)) continue;
      log.warn({ executionId: ref.executionId }, "a lease without a worker is given back");
      const event = ended
        ? ({ $case: "released", value: {} } as const)
        : ({
            $case: "ended",
            value: threw("WorkerLostError: the worker was lost when its server ended", true),
          } as const);
      this.#scheduler.reporter.report({ ref, event }, () => {});
    }
    this.#strange = strange;
    // Executions that are not ours any more. What was leased after the question was asked is not in the answer.
    for (const run of known) {
      const { executionId } = run.ref;
      if (held.has(executionId) || run.ended || this.#scheduler.runs.get(executionId) !== run) continue;
      log.warn({ executionId, workerId: run.workerId }, "a lease was lost: its worker, if any, is stopped");
      this.#scheduler.disown(run);
    }
  }

  /** A service that does not answer yet is waited for; one that answers with a fault is not. */
  async #untilAnswered(work: () => Promise<void>): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      try {
        await work();
        return;
      } catch (error) {
        if (!(error instanceof Refusal) || error.reason !== "Unavailable") throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  /** Answers whether it was done. */
  async #try(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (err) {
      if (!this.#stopping.signal.aborted) {
        this.#scheduler.settings.log.warn({ err }, "the invocation service does not answer; trying again");
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
      return false;
    }
  }
}
