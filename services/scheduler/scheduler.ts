/**
 * The scheduler: leases executions, gives them to workers, relays what the workers say, and ends what is to end. It holds
 * no truth of its own: whatever it forgets is found again in the leases and in the runtime's list.
 *
 * C1. An execution's slot is given back only when its worker is gone, or when its place in a reused worker is free.
 * C2. A worker's `ended` is acknowledged only after it is stored.
 * C3. Every worker that exists and that no scheduler knows is stopped (strangers.ts).
 * C4. What a worker was given and does not name when it connects again never reached it: it is given again.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { ExecutionEnded, Interruption } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { ImageBuilds } from "./images/image_builds.js";
import { ImageSweeper } from "./images/image_sweeper.js";
import { LeaseLoop } from "./leases/lease_loop.js";
import { Reporters } from "./leases/reporter.js";
import { Takeover } from "./leases/takeover.js";
import { type FunctionShape, type Plan, plan, type StandingFunction } from "./plan.js";
import { abortedUnbegun, lostWith, neverBegan, type Run, threw, unplace } from "./run.js";
import { isShared } from "./runtime/runtime.js";
import type { SchedulerSettings } from "./scheduler_settings.js";
import { Deliveries } from "./workers/deliveries.js";
import { Provisioner } from "./workers/provisioner.js";
import { SilentWorkers } from "./workers/silent_workers.js";
import { StandingFunctions } from "./workers/standing_functions.js";
import { Strangers } from "./workers/strangers.js";
import { ANY_SIZE, sizeOf, type WorkerKind, WorkerKinds } from "./workers/worker_kind.js";
import { type PoolExit, type PooledWorker, WorkerPool } from "./workers/worker_pool.js";
import { WorkerTraffic } from "./workers/worker_traffic.js";

const STRANGERS_INTERVAL_MS = 10_000;
/** How long `stop` waits for workers that are being started. */
const STARTS_MS = 5_000;

export class Scheduler {
  readonly settings: SchedulerSettings;
  readonly runs = new Map<string, Run>();
  readonly pool: WorkerPool;
  readonly reporters: Reporters;
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
  /** Workers that did not come. */
  startFailures = 0;
  #waiting: Run[] = [];
  #planned = false;
  #stopped = false;
  #idleTimer: NodeJS.Timeout | undefined;
  readonly #silentWorkers: SilentWorkers;
  #strangerTimer: NodeJS.Timeout | undefined;

  constructor(settings: SchedulerSettings) {
    const { runtime, dispatch, catalog, bus, tokens, ids, log, schedulerUrl, otherUrls = [] } = settings;
    const { images } = runtime;
    this.settings = settings;
    const { monotonic = () => performance.now(), now = () => Date.now() } = settings;
    this.monotonic = monotonic;
    this.pool = new WorkerPool({
      runtime,
      tokens,
      ids,
      log,
      schedulerUrl,
      otherUrls,
      monotonic,
      now,
    });
    this.reporters = new Reporters(dispatch, settings.lessors ?? [], log);
    this.traffic = new WorkerTraffic(this);
    this.leases = new LeaseLoop(this);
    this.takeover = isShared(runtime) ? new Takeover(this, runtime) : undefined;
    this.builds = new ImageBuilds({ images, catalog, log });
    this.#provisioner = new Provisioner(this, this.builds);
    this.#imageSweeper = images === undefined ? undefined : new ImageSweeper({ images, catalog, bus, log });
    this.#deliveries = new Deliveries(this);
    this.#strangers = new Strangers(this);
    this.#silentWorkers = new SilentWorkers({
      pool: this.pool,
      monotonic,
      log,
      startFailed: (worker, description) => this.#startFailed(worker, description),
      endWorker: (worker, isDue) => this.endWorker(worker, isDue),
    });
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
    this.#silentWorkers.start();
    const { strangersIntervalMs = STRANGERS_INTERVAL_MS } = this.settings;
    this.#strangerTimer = setInterval(() => void this.#strangers.look(), strangersIntervalMs);
    this.wake();
  }

  /** Takes no more executions, ends all workers but those that can go on elsewhere, and reports what became of them. */
  async stop(signal: AbortSignal): Promise<void> {
    this.#stopped = true;
    this.#silentWorkers.stop();
    clearInterval(this.#strangerTimer);
    clearTimeout(this.#idleTimer);
    this.#standing.stop();
    this.#provisioner.stop();
    this.builds.stop();
    await Promise.all([this.leases.stop(), this.#imageSweeper?.stop()]);
    // Then they are somewhere, and go on elsewhere.
    await Promise.race([this.pool.begun(), delay(STARTS_MS, undefined, { ref: false })]);
    for (const run of this.runs.values()) {
      if (run.workerId !== undefined && !run.wasSent && !run.ended) this.placeAgain(run); // its worker was told nothing
    }
    this.takeover?.handOver();
    // At once, and not when the engine has ended the others: it may be slow, and the time is bounded.
    this.#giveBackUnplaced();
    for (const worker of this.pool.workers.values()) this.pool.stop(worker);
    await this.settings.runtime.close();
    this.#giveBackUnplaced();
    await this.reporters.drain(signal);
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
    this.traffic.reportYield(run); // the last one is seen before the end
    this.reporters.of(run.lessor).report({ ref: run.ref, event: { $case: "ended", value: ended } }, (refusal) => {
      if (this.runs.get(executionId) !== run) return; // its worker is not this scheduler's any more
      const { takeover } = this;
      const isPooled =
        worker !== undefined && this.pool.workers.get(worker.id) === worker && worker.phase !== "stopping";
      if (refusal === "ExecutionIsNotCurrent" && takeover !== undefined && isPooled) {
        // It has ended by itself, for another scheduler, which may wait for the end of its worker too.
        run.foreign = true;
        void takeover.endRefused(worker, run);
        return;
      }
      if (ended.released) this.runs.delete(executionId);
      if (worker !== undefined) {
        // One that is not used again is about to be stopped.
        worker.session?.acknowledge(executionId, ended.released ? "soon" : "at once");
        // Only now is its place free, and a fresh worker done: what it said is stored (C2).
        worker.running.delete(executionId);
        if (!ended.released) worker.last = executionId;
        if (worker.running.size === 0) worker.idleSince = this.monotonic();
      }
      this.wake();
    });
  }

  interrupt(interruption: Interruption): void {
    const run = this.runs.get(interruption.ref?.executionId ?? "");
    if (run === undefined || run.ended || run.interrupt !== undefined) return;
    const { reason, killAfterMs } = interruption;
    if (run.workerId === undefined) {
      this.end(run, abortedUnbegun(), undefined);
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
    const isNobodys = worker.phase === "starting" && worker.bound === undefined;
    if (this.takeover === undefined || isNobodys) this.pool.stop(worker);
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

  /** Starts a worker for the execution that is the next in need of one of this kind, if it can begin with it. */
  beginNext(kind: WorkerKind, imageName: string | undefined): boolean {
    const kinds = new WorkerKinds(this.#spareSize);
    const isOfKind = (other: WorkerKind) => kinds.of(other) === kinds.of(kind);
    const coming = [...this.pool.workers.values()].filter(
      (worker) => worker.phase === "starting" && worker.bound === undefined && isOfKind(worker),
    );
    // Those before it are for workers that are on their way.
    const run = this.#waiting.filter(({ shape }) => isOfKind(shape))[coming.length];
    if (run === undefined || !this.#deliveries.canBegin(run)) return false;
    this.#waiting = this.#waiting.filter((other) => other !== run);
    this.#deliveries.begin(run, imageName);
    return true;
  }

  /** An execution that never reached its worker, which is gone, waits for another one. */
  placeAgain(run: Run): void {
    this.pool.workers.get(run.workerId ?? "")?.running.delete(run.ref.executionId);
    unplace(run);
    if (run.interrupt === undefined) this.#waiting.unshift(run);
    else this.end(run, abortedUnbegun(), undefined);
  }

  /** A worker is gone: what it ran has failed, and the slots that it held are free. */
  exited(exit: PoolExit): void {
    const worker = this.pool.workers.get(exit.workerId);
    this.pool.workers.delete(exit.workerId);
    worker?.session?.close();
    const imageIsMissing = exit.failedStart?.imageIsMissing === true;
    // One that is bound may have ended by what its function did.
    if (
      worker?.phase === "starting" &&
      !this.#stopped &&
      (worker.bound === undefined || exit.failedStart !== undefined)
    ) {
      if (imageIsMissing) this.#provisioner.failed(worker.image);
      else this.#startFailed(worker, exit.description);
    }
    for (const run of this.runs.values()) {
      if (run.workerId !== exit.workerId) continue;
      if (!run.ended && neverBegan(run, exit, worker)) this.placeAgain(run);
      else if (run.ended) {
        // Known until then, so that no comparison of leases takes it for one that nobody knows.
        const forget = () => this.runs.delete(run.ref.executionId);
        this.reporters.of(run.lessor).report({ ref: run.ref, event: { $case: "released", value: {} } }, forget);
      } else {
        this.end(run, lostWith(run, exit, worker, this.#stopped), worker);
      }
    }
    this.wake();
  }

  /** A worker said hello, and what it holds: it can be given work. */
  connected(worker: PooledWorker, held: ReadonlySet<string>): void {
    if (worker.phase === "starting") worker.phase = phaseOf(worker);
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
      now: this.monotonic(),
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
      const idleInMs = decided.nextIdleAt - this.monotonic();
      this.#idleTimer = setTimeout(() => this.wake(), Math.min(Math.max(idleInMs, 1), 60_000));
    }
  }

  #giveBackUnplaced(): void {
    for (const run of this.runs.values()) {
      clearTimeout(run.interrupt?.timer);
      if (run.workerId === undefined) this.#giveBack(run);
    }
  }

  /** An execution that no worker was given is no attempt: whoever comes next may have it. */
  #giveBack(run: Run): void {
    if (run.ended) return;
    run.ended = true;
    this.runs.delete(run.ref.executionId);
    this.reporters.of(run.lessor).report({ ref: run.ref, event: { $case: "givenBack", value: {} } }, () => {});
  }

  #kill(run: Run): void {
    if (run.ended || run.workerId === undefined) return;
    run.killed = true;
    const worker = this.pool.workers.get(run.workerId);
    if (worker !== undefined) this.endWorker(worker, () => !run.ended);
  }

  /** A worker could not be provisioned, for this reason. */
  #startFailed(worker: PooledWorker, description: string): void {
    this.startFailures += 1;
    this.#provisioner.failed(worker.image);
    this.settings.log.error({ workerId: worker.id, description }, "a worker could not be provisioned");
    worker.failure = description;
    if (worker.bound !== undefined) return; // told when it is gone
    const kinds = new WorkerKinds(this.#spareSize);
    const oldest = this.#waiting.find(({ shape }) => kinds.of(shape) === kinds.of(worker));
    if (oldest !== undefined) this.#fail(oldest, `ProvisioningError: the worker ${description}`);
  }

  /** Ends all executions that wait for a worker in this image. */
  failWaiting(image: string, error: string): void {
    for (const run of this.#waiting.filter(({ shape }) => shape.image === image)) this.#fail(run, error);
  }

  #fail(run: Run, error: string): void {
    this.end(run, threw(error, true), undefined);
  }
}

/** What a worker is that has come. One that was taken over meanwhile is given nothing more. */
function phaseOf({ bound, taken }: PooledWorker): PooledWorker["phase"] {
  if (bound === undefined) return "spare";
  return taken === Number.POSITIVE_INFINITY ? "draining" : "active";
}
