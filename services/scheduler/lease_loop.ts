/**
 * Leasing: takes executions when there is room for them, keeps the lease alive, hears of interruptions, and compares what
 * the invocation service says that this scheduler holds with what it knows.
 */
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import type { Plan } from "./plan.js";
import { newRun, type Run, threw } from "./run.js";
import type { Scheduler } from "./scheduler.js";

/** How often to look for work without a hint. */
const LOOK_INTERVAL_MS = 2_000;
const RETRY_MS = 500;
/** How often to compare leases with runs. */
const RECONCILE_INTERVAL_MS = 30_000;

export class LeaseLoop {
  readonly #scheduler: Scheduler;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #unsubscribes: (() => void)[] = [];
  /** Whether there may be something to lease. */
  #hinted = true;
  #leasing: Promise<unknown> | undefined;
  #renewing: Promise<unknown> | undefined;
  #renewAgain = false;
  #dueTimer: NodeJS.Timeout | undefined;
  /** Leases that the last comparison found and that nothing here knew. */
  #strange = new Set<string>();
  #stopped = false;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  async start(): Promise<void> {
    const { bus, schedulerId } = this.#scheduler.settings;
    this.#unsubscribes.push(
      bus.subscribe("queue", () => this.#hint()),
      bus.subscribe("interruption", (event) => {
        if (event.$case === "interruptions" && event.value.schedulerIds.includes(schedulerId)) this.#renew();
      }),
    );
    // What this scheduler held in an earlier life has no worker any more.
    await this.#untilDone(() => this.#reconcile(true));
    this.#timers.push(
      setInterval(() => this.#hint(), LOOK_INTERVAL_MS),
      setInterval(() => this.#renew(), LIMITS.leaseRenewIntervalMs),
      setInterval(() => void this.#try(() => this.#reconcile(false)), RECONCILE_INTERVAL_MS),
    );
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const unsubscribe of this.#unsubscribes) unsubscribe();
    clearTimeout(this.#dueTimer);
    await Promise.all([this.#leasing, this.#renewing]);
  }

  /** Leases as much as the plan has room for, if there may be something. */
  offer(plan: Plan, waitingCount: number, waiting: readonly Run[]): void {
    const count = Math.min(plan.room - (plan.roomForOthers ? waitingCount : 0), LIMITS.executionsPerLease);
    if (!this.#hinted || count <= 0 || this.#leasing !== undefined || this.#stopped) return;
    this.#hinted = false;
    const excludedQueues = plan.roomForOthers
      ? []
      : [...new Set(waiting.map(({ leased }) => `${leased.projectId}/${leased.function?.functionName}`))];
    this.#leasing = this.#try(() => this.#lease(count, excludedQueues)).finally(() => {
      this.#leasing = undefined;
      if (this.#hinted) this.#scheduler.wake();
    });
  }

  async #lease(maxCount: number, excludedQueues: string[]): Promise<void> {
    const { dispatch, schedulerId } = this.#scheduler.settings;
    const leaseDurationMs = LIMITS.leaseDurationMs;
    const answer = await dispatch.leaseInvocations({ schedulerId, maxCount, leaseDurationMs, excludedQueues });
    if (answer.more) this.#hinted = true;
    if (answer.nextDueTimeMs !== undefined) {
      clearTimeout(this.#dueTimer);
      this.#dueTimer = setTimeout(() => this.#hint(), Math.max(1, answer.nextDueTimeMs - Date.now()));
    }
    if (answer.executions.length > 0) this.#scheduler.take(answer.executions.map(newRun));
  }

  #hint(): void {
    this.#hinted = true;
    this.#scheduler.wake();
  }

  #renew(): void {
    if (this.#renewing !== undefined) {
      this.#renewAgain = true;
      return;
    }
    this.#renewAgain = false;
    this.#renewing = this.#try(async () => {
      const { dispatch, schedulerId } = this.#scheduler.settings;
      const { interruptions, expired } = await dispatch.renewLeases({
        schedulerId,
        leaseDurationMs: LIMITS.leaseDurationMs,
      });
      for (const interruption of interruptions) this.#scheduler.interrupt(interruption);
      if (expired) await this.#reconcile(false);
    }).finally(() => {
      this.#renewing = undefined;
      if (this.#renewAgain && !this.#stopped) this.#renew();
    });
  }

  /** `fresh`: this scheduler has no workers yet, so that whatever it holds is lost. */
  async #reconcile(fresh: boolean): Promise<void> {
    const { dispatch, schedulerId, log } = this.#scheduler.settings;
    const { leases } = await dispatch.listLeases({ schedulerId });
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
    // Executions that are not ours any more: their workers are to end, and nothing of them is to be reported.
    for (const run of this.#scheduler.runs.values()) {
      if (held.has(run.ref.executionId) || run.workerId === undefined || run.ended) continue;
      const worker = this.#scheduler.pool.workers.get(run.workerId);
      if (worker !== undefined && performance.now() - worker.heardAt < RECONCILE_INTERVAL_MS) continue;
      log.warn({ executionId: run.ref.executionId }, "an execution was leased to another: its worker is stopped");
      if (worker !== undefined) this.#scheduler.pool.stop(worker);
    }
  }

  async #untilDone(work: () => Promise<void>): Promise<void> {
    while (!this.#stopped && !(await this.#try(work)));
  }

  /** Answers whether it was done. */
  async #try(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (err) {
      if (!this.#stopped) {
        this.#scheduler.settings.log.warn({ err }, "the invocation service does not answer; trying again");
        this.#hinted = true;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
      return false;
    }
  }
}
