/**
 * The scheduler: leases executions, gives them to workers, relays what the workers say, and ends what is to end. It holds
 * no truth of its own: whatever it forgets is found again in the leases and in the runtime's list.
 *
 * C1. An execution's slot is given back only when its worker is gone, or when its place in a reused worker is free.
 * C2. A worker's `ended` is acknowledged only after it is stored.
 * C3. Every worker that exists and that no scheduler knows is stopped (strangers.ts).
 * C4. What a worker was given and does not name when it connects again never reached it: it is given again.
 */
import {
  type DispatchServiceClient,
  type ExecutionEnded,
  type Interruption,
  InterruptReason,
} from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { CatalogServiceClient } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import type { Bus } from "../platform/bus/bus.js";
import type { IdSource } from "../platform/ids.js";
import type { Logger } from "../platform/log.js";
import { Deliveries } from "./deliveries.js";
import { ImageBuilds } from "./image_builds.js";
import { ImageSweeper } from "./image_sweeper.js";
import { LeaseLoop } from "./lease_loop.js";
import { type FunctionShape, type Plan, plan, type StandingFunction } from "./plan.js";
import { Provisioner } from "./provisioner.js";
import { Reporter } from "./reporter.js";
import { type Run, threw } from "./run.js";
import { isShared, type Runtime } from "./runtime/runtime.js";
import { StandingFunctions } from "./standing_functions.js";
import { Strangers } from "./strangers.js";
import { Takeover } from "./takeover.js";
import { ANY_SIZE, sizeOf, WorkerKinds } from "./worker_kind.js";
import { type PoolExit, type PooledWorker, WorkerPool } from "./worker_pool.js";
import type { WorkerTokens } from "./worker_token.js";
import { WorkerTraffic } from "./worker_traffic.js";

export interface SchedulerSettings {
  readonly schedulerId: string;
  readonly dispatch: DispatchServiceClient;
  readonly catalog: Pick<
    CatalogServiceClient,
    "getCode" | "downloadBundle" | "findUsedBundles" | "listStandingFunctions"
  >;
  readonly runtime: Runtime;
  readonly bus: Bus;
  readonly ids: IdSource;
  readonly tokens: WorkerTokens;
  readonly log: Logger;
  /** Where workers reach this scheduler, known once its server listens. */
  readonly schedulerUrl: () => string;
  /** Where they reach the other schedulers of the installation. Default: they do not. */
  readonly otherUrls?: readonly string[];
  /** Where functions reach the public API. */
  readonly apiUrl: () => string;
  readonly maxWorkers: number;
  readonly spareWorkers: number;
  readonly payloadBytes: number;
  /** How often the workers that exist are compared with those that are known. Default 10 s. */
  readonly strangersIntervalMs?: number;
  /** Monotonic milliseconds. Default: those of the process. */
  readonly monotonic?: () => number;
}

const STRANGERS_INTERVAL_MS = 10_000;
/** How often workers are looked for that have fallen silent. */
const SILENCE_LOOK_MS = 1_000;

export class Scheduler {
  readonly settings: SchedulerSettings;
  readonly runs = new Map<string, Run>();
  readonly pool: WorkerPool;
  readonly reporter: Reporter;
  readonly traffic: WorkerTraffic;
  readonly leases: LeaseLoop;
  readonly builds: ImageBuilds;
  /** Present where workers outlive their scheduler. */
  readonly takeover: Takeover | undefined;
  readonly monotonic: () => number;
  readonly #deliveries: Deliveries;
  readonly #strangers: Strangers;
  readonly #standing: StandingFunctions;
  readonly #provisioner: Provisioner;
  readonly #imageSweeper: ImageSweeper | undefined;
  #waiting: Run[] = [];
  #planned = false;
  #stopped = false;
  #idleTimer: NodeJS.Timeout | undefined;
  #silenceTimer: NodeJS.Timeout | undefined;
  #strangerTimer: NodeJS.Timeout | undefined;
  #silenceLookedAt = 0;

  constructor(settings: SchedulerSettings) {
    const { runtime, dispatch, catalog, bus, tokens, ids, log, schedulerUrl, otherUrls = [] } = settings;
    const { images } = runtime;
    this.settings = settings;
    const { monotonic = () => performance.now() } = settings;
    this.monotonic = monotonic;
    this.pool = new WorkerPool({
      runtime,
      tokens,
      ids,
      log,
      schedulerUrl,
      otherUrls,
      monotonic,
      now: () => Date.now(),
    });
    this.reporter = new Reporter(dispatch, log);
    this.traffic = new WorkerTraffic(this);
    this.leases = new LeaseLoop(this);
    this.takeover = isShared(runtime) ? new Takeover(this, runtime) : undefined;
    this.builds = new ImageBuilds({ images, catalog, log });
    this.#provisioner = new Provisioner(this, this.builds);
    this.#imageSweeper = images === undefined ? undefined : new ImageSweeper({ images, catalog, bus, log });
    this.#deliveries = new Deliveries(this);
    this.#strangers = new Strangers(this);
    this.#standing = new StandingFunctions(catalog, bus, log, () => this.wake());
  }

  async start(): Promise<void> {
    const { runtime } = this.settings;
    runtime.onExit((exit) => this.exited(exit));
    runtime.onOutput((workerId, stream, line) => this.traffic.workerPrinted(workerId, stream, line));
    await this.leases.start();
    // It may wait long for the invocation service, and be stopped meanwhile.
    if (this.#stopped) return;
    this.#standing.start();
    this.#imageSweeper?.start();
    this.#silenceTimer = setInterval(() => this.#endSilentWorkers(), SILENCE_LOOK_MS);
    this.#silenceLookedAt = this.monotonic();
    const { strangersIntervalMs = STRANGERS_INTERVAL_MS } = this.settings;
    this.#strangerTimer = setInterval(() => void this.#strangers.look(), strangersIntervalMs);
    this.wake();
  }

  /** Takes no more executions, ends all workers but those that can go on elsewhere, and reports what became of them. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#silenceTimer);
    clearInterval(this.#strangerTimer);
    clearTimeout(this.#idleTimer);
    this.#standing.stop();
    this.#provisioner.stop();
    this.builds.stop();
    await Promise.all([this.leases.stop(), this.#imageSweeper?.stop()]);
    this.takeover?.handOver();
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
      // What waits may be leased to others by now: it is planned again with the next renewal.
      if (!this.#stopped && this.leases.isTrusted) this.#act(this.#plan());
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
    this.reporter.report({ ref: run.ref, event: { $case: "ended", value: ended } }, (refusal) => {
      if (this.runs.get(executionId) !== run) return; // its worker is not this scheduler's any more
      const { takeover } = this;
      const isPooled =
        worker !== undefined && this.pool.workers.get(worker.id) === worker && worker.phase !== "stopping";
      if (refusal === "ExecutionIsNotCurrent" && takeover !== undefined && isPooled) {
        // It has ended by itself, for another scheduler, which may wait for the end of its worker too.
        run.foreign = true;
        void takeover.settle(worker, () => takeover.retire(worker, run));
        return;
      }
      if (ended.released) this.runs.delete(executionId);
      if (worker !== undefined) {
        // One that is not used again is about to be stopped.
        worker.session?.acknowledge(executionId, ended.released ? "soon" : "at once");
        // Only now is its place free, and a fresh worker done: what it said is stored (C2).
        worker.running.delete(executionId);
        if (!ended.released) worker.last = executionId;
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

  /** An execution is not this scheduler's any more: its worker is to end, or is another's, and its end is not reported. */
  disown(run: Run): void {
    run.ended = true;
    run.foreign = true;
    clearTimeout(run.interrupt?.timer);
    const worker = run.workerId === undefined ? undefined : this.pool.workers.get(run.workerId);
    if (worker === undefined) {
      this.#waiting = this.#waiting.filter((other) => other !== run);
      this.runs.delete(run.ref.executionId);
    } else {
      // Whose exit is its release, should anybody wait for that.
      this.endWorker(worker, () => this.runs.get(run.ref.executionId) === run);
    }
  }

  /** Stops a worker that may have executions, unless it is another scheduler's by now, or need not end any more. */
  endWorker(worker: PooledWorker, isDue: () => boolean = () => true): void {
    if (this.takeover === undefined || worker.phase === "starting") this.pool.stop(worker);
    else
      void this.takeover.settle(worker, () => {
        if (isDue()) this.pool.stop(worker);
      });
  }

  /** Forgets an execution that another scheduler answers for. */
  drop(run: Run): void {
    run.ended = true;
    clearTimeout(run.interrupt?.timer);
    const { executionId } = run.ref;
    if (this.runs.get(executionId) === run) this.runs.delete(executionId);
    this.pool.workers.get(run.workerId ?? "")?.running.delete(executionId);
  }

  /** An execution that never reached its worker, which is gone, waits for another one. */
  placeAgain(run: Run): void {
    this.pool.workers.get(run.workerId ?? "")?.running.delete(run.ref.executionId);
    run.workerId = undefined;
    if (run.interrupt === undefined) this.#waiting.unshift(run);
    else this.end(run, { ...threw("", false), interrupted: true, released: true }, undefined);
  }

  /** A worker is gone: what it ran has failed, and the slots that it held are free. */
  exited(exit: PoolExit): void {
    const worker = this.pool.workers.get(exit.workerId);
    this.pool.workers.delete(exit.workerId);
    worker?.session?.close();
    if (worker?.phase === "starting" && !this.#stopped) {
      if (exit.imageIsMissing === true) this.#provisioner.failed(worker.image);
      else this.#startFailed(worker, exit.description);
    }
    for (const run of this.runs.values()) {
      if (run.workerId !== exit.workerId) continue;
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
    this.#provisioner.succeeded(worker.image);
    if (worker.bound !== undefined) this.#deliveries.sendCode(worker, worker.bound);
    for (const executionId of worker.running) {
      const run = held.has(executionId) ? undefined : this.runs.get(executionId);
      if (run !== undefined) this.#deliveries.sendExecution(run, worker); // C4
    }
    this.wake();
  }

  get #spareSize(): string {
    const { fixedResources } = this.settings.runtime;
    return fixedResources === undefined ? ANY_SIZE : sizeOf(fixedResources);
  }

  #plan(): Plan {
    const { maxWorkers, spareWorkers } = this.settings;
    const workers = this.pool.views();
    // What has no image yet is no reason for another worker to give way.
    const isReady = ({ shape }: { shape: FunctionShape }) => this.#provisioner.prepare(shape.image);
    const waiting = this.#waiting.filter(isReady).map(({ ref, shape }) => ({ executionId: ref.executionId, shape }));
    const isKept = (fn: StandingFunction) => workers.some(({ shape }) => shape?.key === fn.shape.key);
    const standing = this.#standing.shapes().filter((fn) => isReady(fn) || isKept(fn));
    return plan({
      now: Date.now(),
      workers,
      waiting,
      standing,
      maxWorkers,
      spareWorkers,
      spareSize: this.#spareSize,
    });
  }

  #act(decided: Plan): void {
    for (const { workerId, shape } of decided.warm) {
      const worker = this.pool.workers.get(workerId);
      const fn = this.#standing.byKey(shape.key);
      if (worker !== undefined && fn !== undefined) this.#deliveries.bind(worker, fn);
    }
    const placed = new Set<Run>();
    for (const { executionId, workerId } of decided.assign) {
      const run = this.runs.get(executionId);
      const worker = this.pool.workers.get(workerId);
      if (run === undefined || worker === undefined) continue;
      placed.add(run);
      this.#deliveries.assign(run, worker);
    }
    if (placed.size > 0) this.#waiting = this.#waiting.filter((run) => !placed.has(run));
    for (const workerId of decided.stop) {
      const worker = this.pool.workers.get(workerId);
      if (worker !== undefined) this.pool.stop(worker);
    }
    this.#provisioner.start(decided);
    const isReady = ({ shape }: Run) => this.#provisioner.isReady(shape.image);
    const imageless = this.#waiting.filter((run) => !isReady(run));
    this.leases.offer(decided, imageless.length === 0 ? this.#waiting : this.#waiting.filter(isReady), imageless);
    clearTimeout(this.#idleTimer);
    if (decided.nextIdleAt !== undefined) {
      this.#idleTimer = setTimeout(() => this.wake(), Math.min(Math.max(decided.nextIdleAt - Date.now(), 1), 60_000));
    }
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
    if (worker !== undefined) this.endWorker(worker, () => !run.ended);
  }

  #startFailed(worker: PooledWorker, description: string): void {
    this.#provisioner.failed(worker.image);
    this.settings.log.error({ workerId: worker.id, description }, "a worker could not be provisioned");
    const kinds = new WorkerKinds(this.#spareSize);
    const oldest = this.#waiting.find(({ shape }) => kinds.of(shape) === kinds.of(worker));
    if (oldest !== undefined) this.#fail(oldest, `ProvisioningError: the worker ${description}`);
  }

  /** Ends all executions that wait for a worker in this image. */
  failWaiting(image: string, error: string): void {
    for (const run of this.#waiting.filter(({ shape }) => shape.image === image)) this.#fail(run, error);
  }

  #fail(run: Run, error: string): void {
    this.end(run, { ...threw(error, true), released: true }, undefined);
  }

  #endSilentWorkers(): void {
    const now = this.monotonic();
    const stoodStill = now - this.#silenceLookedAt > 3 * SILENCE_LOOK_MS;
    this.#silenceLookedAt = now;
    if (stoodStill) {
      // What they said meanwhile is not read yet.
      for (const worker of this.pool.workers.values()) worker.heardAt = now;
      return;
    }
    for (const worker of this.pool.silent()) {
      if (worker.phase === "starting") {
        this.#startFailed(worker, "did not connect in time");
      }
      this.settings.log.warn({ workerId: worker.id, phase: worker.phase }, "a worker fell silent and is stopped");
      this.endWorker(worker, () => this.pool.silent().includes(worker));
    }
  }
}

function lossOf(run: Run, exit: PoolExit): string {
  if (run.killed) {
    const what =
      run.interrupt?.reason === InterruptReason.TIMED_OUT ? "InvocationTimedOutError" : "InvocationCancelledError";
    return `${what}: the execution was killed when its grace period was over`;
  }
  if (exit.outOfMemory) return `OutOfMemoryError: the worker ${exit.description}, out of memory`;
  return `WorkerLostError: the worker ${exit.description}`;
}
