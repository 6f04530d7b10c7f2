/**
 * The scheduler: leases executions, gives them to workers, relays what the workers say, and ends what is to end. It holds
 * no truth of its own: whatever it forgets is found again in the leases and in the runtime's list.
 *
 * C1. An execution's slot is given back only when its worker is gone, or when its place in a reused worker is free.
 * C2. A worker's `ended` is acknowledged only after it is stored.
 * C3. Every worker that the runtime lists and the pool does not know is stopped.
 * C4. What a worker was given and does not name when it connects again never reached it: it is given again.
 */
import {
  type DispatchServiceClient,
  type ExecutionEnded,
  type Interruption,
  InterruptReason,
} from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { CatalogServiceClient } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import type { Code } from "../../gen/multinode/registry/v1/function.pb.js";
import type { Bus } from "../platform/bus/bus.js";
import type { IdSource } from "../platform/ids.js";
import type { Logger } from "../platform/log.js";
import { LeaseLoop } from "./lease_loop.js";
import { type Plan, plan, type StandingFunction } from "./plan.js";
import { Reporter } from "./reporter.js";
import { type Run, shapeOf, threw } from "./run.js";
import type { Runtime, WorkerExit } from "./runtime/runtime.js";
import { StandingFunctions } from "./standing_functions.js";
import { StartBackoff } from "./start_backoff.js";
import { type BoundFunction, type PooledWorker, WorkerPool } from "./worker_pool.js";
import type { WorkerTokens } from "./worker_token.js";
import { WorkerTraffic } from "./worker_traffic.js";

export interface SchedulerSettings {
  readonly schedulerId: string;
  readonly dispatch: DispatchServiceClient;
  readonly catalog: Pick<CatalogServiceClient, "getCode" | "downloadBundle" | "listStandingFunctions">;
  readonly runtime: Runtime;
  readonly bus: Bus;
  readonly ids: IdSource;
  readonly tokens: WorkerTokens;
  readonly log: Logger;
  /** Where workers reach this scheduler, known once its server listens. */
  readonly schedulerUrl: () => string;
  /** Where functions reach the public API. */
  readonly apiUrl: () => string;
  readonly maxWorkers: number;
  readonly spareWorkers: number;
  readonly payloadBytes: number;
}

/** How often the runtime's workers are compared with the pool's. */
const STRANGERS_INTERVAL_MS = 10_000;

export class Scheduler {
  readonly settings: SchedulerSettings;
  readonly runs = new Map<string, Run>();
  readonly pool: WorkerPool;
  readonly reporter: Reporter;
  readonly traffic: WorkerTraffic;
  readonly #leases: LeaseLoop;
  readonly #standing: StandingFunctions;
  readonly #code = new Map<string, Promise<Code>>();
  #waiting: Run[] = [];
  #planned = false;
  #stopped = false;
  #idleTimer: NodeJS.Timeout | undefined;
  #silenceTimer: NodeJS.Timeout | undefined;
  #strangerTimer: NodeJS.Timeout | undefined;
  readonly #backoff = new StartBackoff(() => this.wake());

  constructor(settings: SchedulerSettings) {
    const { runtime, dispatch, tokens, ids, log, schedulerUrl } = settings;
    this.settings = settings;
    const monotonic = () => performance.now();
    this.pool = new WorkerPool({ runtime, tokens, ids, log, schedulerUrl, monotonic, now: () => Date.now() });
    this.reporter = new Reporter(dispatch, log);
    this.traffic = new WorkerTraffic(this);
    this.#leases = new LeaseLoop(this);
    this.#standing = new StandingFunctions(settings.catalog, settings.bus, log, () => this.wake());
  }

  async start(): Promise<void> {
    const { runtime } = this.settings;
    runtime.onExit((exit) => this.exited(exit));
    runtime.onOutput((workerId, stream, line) => this.traffic.workerPrinted(workerId, stream, line));
    await this.#leases.start();
    // It may wait long for the invocation service, and be stopped meanwhile.
    if (this.#stopped) return;
    this.#standing.start();
    this.#silenceTimer = setInterval(() => this.#endSilentWorkers(), 1_000);
    this.#strangerTimer = setInterval(() => void this.#endStrangers(), STRANGERS_INTERVAL_MS);
    this.wake();
  }

  /** Takes no more executions, ends all workers, and reports what became of them. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#silenceTimer);
    clearInterval(this.#strangerTimer);
    clearTimeout(this.#idleTimer);
    this.#standing.stop();
    await this.#leases.stop();
    for (const worker of this.pool.workers.values()) this.pool.stop(worker);
    await this.settings.runtime.close();
    for (const run of this.runs.values()) {
      clearTimeout(run.interrupt?.timer);
      if (run.workerId === undefined) this.#giveBack(run);
    }
    await this.reporter.drain(signal);
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Plans in this turn of the event loop, once. */
  wake(): void {
    if (this.#planned || this.#stopped) return;
    this.#planned = true;
    setImmediate(() => {
      this.#planned = false;
      if (!this.#stopped) this.#act(this.#plan());
    });
  }

  take(runs: readonly Run[]): void {
    for (const run of runs) {
      this.runs.set(run.ref.executionId, run);
      this.#waiting.push(run);
    }
    this.wake();
  }

  /** Reports the end of an execution. `worker` is where it ran. */
  end(run: Run, ended: ExecutionEnded, worker: PooledWorker | undefined): void {
    if (run.ended) return;
    run.ended = true;
    clearTimeout(run.interrupt?.timer);
    if (worker === undefined) this.#waiting = this.#waiting.filter((other) => other !== run);
    const { executionId } = run.ref;
    this.reporter.report({ ref: run.ref, event: { $case: "ended", value: ended } }, () => {
      if (ended.released) this.runs.delete(executionId);
      if (worker !== undefined) {
        // One that is not used again is about to be stopped.
        worker.session?.acknowledge(executionId, ended.released ? "soon" : "at once");
        // Only now is its place free, and a fresh worker done: what it said is stored (C2).
        worker.running.delete(executionId);
        if (worker.running.size === 0) worker.idleSince = Date.now();
      }
      this.wake();
    });
  }

  interrupt(interruption: Interruption): void {
    const run = this.runs.get(interruption.ref?.executionId ?? "");
    if (run === undefined || run.ended || run.interrupt !== undefined) return;
    const { reason, killAfterMs } = interruption;
    if (run.workerId === undefined) {
      this.end(run, { ...threw("", false), interrupted: true, released: true }, undefined);
      return;
    }
    const worker = this.pool.workers.get(run.workerId);
    const timer = setTimeout(() => this.#kill(run), Math.max(0, killAfterMs));
    run.interrupt = { reason, timer };
    const { executionId } = run.ref;
    worker?.session?.send({ $case: "interrupt", value: { executionId, reason } });
  }

  /** An execution is not this scheduler's any more: its worker is to end, and its end is not to be reported. */
  disown(run: Run): void {
    if (run.ended) return;
    run.ended = true;
    clearTimeout(run.interrupt?.timer);
    const worker = run.workerId === undefined ? undefined : this.pool.workers.get(run.workerId);
    if (worker === undefined) {
      this.#waiting = this.#waiting.filter((other) => other !== run);
      this.runs.delete(run.ref.executionId);
    } else {
      this.pool.stop(worker); // whose exit is its release, should anybody wait for that
    }
  }

  /** A worker is gone: what it ran has failed, and the slots that it held are free. */
  exited(exit: WorkerExit): void {
    const worker = this.pool.workers.get(exit.workerId);
    if (worker === undefined) return;
    this.pool.workers.delete(exit.workerId);
    worker.session?.close();
    if (worker.phase === "starting" && !this.#stopped) this.#startFailed(exit);
    for (const run of this.runs.values()) {
      if (run.workerId !== worker.id) continue;
      if (run.ended) {
        this.runs.delete(run.ref.executionId);
        this.reporter.report({ ref: run.ref, event: { $case: "released", value: {} } }, () => {});
      } else {
        this.end(
          run,
          { ...threw(lossOf(run, exit), true), interrupted: run.interrupt !== undefined, released: true },
          worker,
        );
      }
    }
    this.wake();
  }

  /** A worker said hello, and what it holds: it can be given work. */
  connected(worker: PooledWorker, held: ReadonlySet<string>): void {
    if (worker.phase === "starting") worker.phase = "spare";
    this.#backoff.succeeded();
    if (worker.bound !== undefined) this.#sendCode(worker, worker.bound);
    for (const executionId of worker.running) {
      const run = held.has(executionId) ? undefined : this.runs.get(executionId);
      if (run !== undefined) this.#sendExecution(run, worker); // C4
    }
    this.wake();
  }

  #plan(): Plan {
    const { maxWorkers, spareWorkers } = this.settings;
    const waiting = this.#waiting.map(({ ref, shape }) => ({ executionId: ref.executionId, shape }));
    const standing: readonly StandingFunction[] = this.#standing.shapes();
    return plan({
      now: Date.now(),
      workers: this.pool.views(),
      waiting,
      standing,
      maxWorkers,
      spareWorkers,
    });
  }

  #act(decided: Plan): void {
    for (const { workerId, shape } of decided.warm) {
      const worker = this.pool.workers.get(workerId);
      const fn = this.#standing.byKey(shape.key);
      if (worker !== undefined && fn !== undefined) this.#bind(worker, fn);
    }
    const placed = new Set<Run>();
    for (const { executionId, workerId } of decided.assign) {
      const run = this.runs.get(executionId);
      const worker = this.pool.workers.get(workerId);
      if (run === undefined || worker === undefined) continue;
      placed.add(run);
      this.#assign(run, worker);
    }
    if (placed.size > 0) this.#waiting = this.#waiting.filter((run) => !placed.has(run));
    for (const workerId of decided.stop) {
      const worker = this.pool.workers.get(workerId);
      if (worker !== undefined) this.pool.stop(worker);
    }
    if (!this.#backoff.isWaiting) {
      for (let i = 0; i < decided.start; i++) this.pool.start((exit) => this.exited(exit));
    }
    this.#leases.offer(decided, this.#waiting);
    clearTimeout(this.#idleTimer);
    if (decided.nextIdleAt !== undefined) {
      this.#idleTimer = setTimeout(() => this.wake(), Math.min(Math.max(decided.nextIdleAt - Date.now(), 1), 60_000));
    }
  }

  #bind(worker: PooledWorker, fn: BoundFunction): void {
    this.pool.bind(worker, fn);
    this.#sendCode(worker, fn);
  }

  /** Where there is no connection now, it is said when there is one. A worker that has its code ignores it. */
  #sendCode(worker: PooledWorker, fn: BoundFunction): void {
    this.#codeOf(fn.versionId).then(
      (code) => {
        const { projectName, versionId, spec } = fn;
        worker.session?.bind({ projectName, versionId, function: spec, code });
      },
      (err: unknown) => {
        this.#code.delete(fn.versionId);
        this.settings.log.warn({ err, versionId: fn.versionId }, "the code of a version could not be had");
        this.pool.stop(worker);
      },
    );
  }

  #assign(run: Run, worker: PooledWorker): void {
    const { leased } = run;
    if (worker.bound === undefined) {
      if (leased.function === undefined) throw new Error("an execution was leased without its function");
      const { projectName, versionId } = leased;
      this.#bind(worker, {
        shape: shapeOf(versionId, leased.function),
        projectName,
        versionId,
        spec: leased.function,
      });
    }
    run.workerId = worker.id;
    worker.running.add(run.ref.executionId);
    worker.taken += 1;
    this.#sendExecution(run, worker);
  }

  #sendExecution(run: Run, worker: PooledWorker): void {
    // The worker must have its code first, which it has at once unless it is the first of its version.
    const say = () => this.#sayExecution(run, worker);
    if (worker.session?.hasCode) say();
    else void this.#codeOf(run.leased.versionId).then(say, () => {}); // told by #bind
  }

  #sayExecution(run: Run, worker: PooledWorker): void {
    if (run.ended) return;
    const { executionId, invocationId } = run.ref;
    const { attemptNumber, arguments: args, parentInvocationId, executionToken } = run.leased;
    worker.session?.send({
      $case: "assign",
      value: { executionId, invocationId, attemptNumber, arguments: args, parentInvocationId, executionToken },
    });
    if (run.interrupt === undefined) return;
    // Said before, it meant nothing to the worker.
    worker.session?.send({ $case: "interrupt", value: { executionId, reason: run.interrupt.reason } });
  }

  #codeOf(versionId: string): Promise<Code> {
    let code = this.#code.get(versionId);
    if (code === undefined) {
      code = this.settings.catalog.getCode({ versionId }).then(({ code }) => {
        if (code === undefined) throw new Error(`the registry gave no code of ${versionId}`);
        return code;
      });
      if (this.#code.size > 1_000) this.#code.clear();
      this.#code.set(versionId, code);
    }
    return code;
  }

  /** An execution that no worker was given is no attempt: whoever comes next may have it. */
  #giveBack(run: Run): void {
    if (run.ended) return;
    run.ended = true;
    this.runs.delete(run.ref.executionId);
    this.reporter.report({ ref: run.ref, event: { $case: "givenBack", value: {} } }, () => {});
  }

  #kill(run: Run): void {
    if (run.ended || run.workerId === undefined) return;
    run.killed = true;
    const worker = this.pool.workers.get(run.workerId);
    if (worker !== undefined) this.pool.stop(worker);
  }

  #startFailed(exit: Pick<WorkerExit, "workerId" | "description">): void {
    this.#backoff.failed();
    this.settings.log.error(
      { workerId: exit.workerId, description: exit.description },
      "a worker could not be provisioned",
    );
    const [oldest] = this.#waiting;
    if (oldest === undefined) return;
    const error = `ProvisioningError: the worker ${exit.description}`;
    this.end(oldest, { ...threw(error, true), released: true }, undefined);
  }

  /** C3 */
  async #endStrangers(): Promise<void> {
    const { runtime, log } = this.settings;
    try {
      for (const workerId of await runtime.list()) {
        if (this.pool.workers.has(workerId)) continue;
        log.warn({ workerId }, "a worker that nobody knows is stopped");
        await runtime.stop(workerId);
      }
    } catch (err) {
      log.warn({ err }, "the runtime does not answer; its workers will be compared again");
    }
  }

  #endSilentWorkers(): void {
    for (const worker of this.pool.silent()) {
      if (worker.phase === "starting") {
        this.#startFailed({ workerId: worker.id, description: "did not connect in time" });
      }
      this.settings.log.warn({ workerId: worker.id, phase: worker.phase }, "a worker fell silent and is stopped");
      this.pool.stop(worker);
    }
  }
}

function lossOf(run: Run, exit: WorkerExit): string {
  if (run.killed) {
    const what =
      run.interrupt?.reason === InterruptReason.TIMED_OUT ? "InvocationTimedOutError" : "InvocationCancelledError";
    return `${what}: the execution was killed when its grace period was over`;
  }
  if (exit.outOfMemory) return `OutOfMemoryError: the worker ${exit.description}, out of memory`;
  return `WorkerLostError: the worker ${exit.description}`;
}
