/** What workers are given: the code that they are for, and executions. */
import type { Code } from "../../../gen/multinode/registry/v1/function.pb.js";
import { beginWithinMs, type Run, shapeOf } from "../run.js";
import type { Scheduler } from "../scheduler.js";
import { FirstWorks } from "./first_works.js";
import { VersionCode } from "./version_code.js";
import type { BoundFunction, PoolExit, PooledWorker } from "./worker_pool.js";

export class Deliveries {
  readonly #scheduler: Scheduler;
  readonly #code: VersionCode;
  readonly #firstWorks: FirstWorks;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
    const { catalog, log } = scheduler.settings;
    const waits = ({ bound, phase }: PooledWorker, versionId: string) =>
      bound?.versionId === versionId && phase !== "stopping";
    this.#code = new VersionCode({
      catalog,
      log,
      isWanted: (versionId) =>
        !scheduler.stopped && [...scheduler.pool.workers.values()].some((worker) => waits(worker, versionId)),
    });
    this.#firstWorks = new FirstWorks(
      scheduler.settings,
      () => scheduler.leases.trustedForMs,
      (versionId) => this.#code.of(versionId),
    );
  }

  bind(worker: PooledWorker, fn: BoundFunction): void {
    this.#scheduler.pool.bind(worker, fn);
    this.sendCode(worker, fn);
  }

  /**
   * Where there is no connection now, or another one by then, it is said when the worker has said hello on that. A worker that
   * has its code ignores it. While its limits are set it fetches the code, and runs nothing of it.
   */
  sendCode(worker: PooledWorker, fn: BoundFunction): void {
    const { projectName, versionId, spec } = fn;
    const { session } = worker;
    const prepare = ({ source }: Code) => {
      if (source?.$case !== "bundle") return;
      const { digest } = source.value;
      this.#scheduler.settings.runtime.usesBundle?.(worker.id, digest);
      if (session?.hasCode === false) session.prepare(digest);
    };
    this.#code.of(versionId).then(prepare, (err: unknown) => {
      this.#scheduler.settings.log.warn({ err, versionId }, "the code of a version could not be had");
      this.#scheduler.endWorker(worker);
    });
    const bind = (code: Code) => session?.bind({ projectName, versionId, function: spec, code });
    this.#codeInLimits(worker, versionId).then(bind, () => {}); // a worker without code, or limits, is ended
  }

  assign(run: Run, worker: PooledWorker): void {
    if (worker.bound === undefined) this.bind(worker, functionOf(run));
    place(run, worker);
    this.sendExecution(run, worker);
  }

  /** Whether a worker can be started for this, which then begins with it. */
  canBegin(run: Run): boolean {
    return this.#firstWorks.suits(run);
  }

  /** Starts a worker for it. */
  begin(run: Run, imageName: string | undefined): void {
    const { pool } = this.#scheduler;
    const exited = (exit: PoolExit) => this.#scheduler.exited(exit);
    const work = this.#firstWorks.make(run).then((firstWork) => {
      // A worker that is stopped by now is not started any more.
      if (firstWork !== undefined && run.workerId === worker.id && worker.phase !== "stopping") run.wasSent = true;
      return firstWork;
    });
    const worker = pool.startFor(functionOf(run), work, exited, imageName);
    place(run, worker);
  }

  sendExecution(run: Run, worker: PooledWorker): void {
    const { session } = worker;
    const say = () => {
      // What a connection that broke was to say is said on the next one.
      if (worker.session === session) this.#sayExecution(run, worker);
    };
    // The worker must have its code first, which it has at once unless it is the first of its version.
    if (session?.hasCode) say();
    else void this.#codeInLimits(worker, run.leased.versionId).then(say, () => {}); // told by `bind`
  }

  /** The code of a version, once the worker may run it. */
  async #codeInLimits(worker: PooledWorker, versionId: string): Promise<Code> {
    const [code] = await Promise.all([this.#code.of(versionId), worker.limited]);
    return code;
  }

  #sayExecution(run: Run, worker: PooledWorker): void {
    if (run.ended) return;
    const { executionId, invocationId } = run.ref;
    const { attemptNumber, arguments: args, parentInvocationId, executionToken } = run.leased;
    const isSent = worker.session?.send({
      $case: "assign",
      value: {
        executionId,
        invocationId,
        attemptNumber,
        arguments: args,
        parentInvocationId,
        executionToken,
        beginWithinMs: beginWithinMs(run),
      },
    });
    if (isSent) run.wasSent = true;
    if (run.interrupt === undefined) return;
    // Said before, it meant nothing to the worker.
    worker.session?.send({ $case: "interrupt", value: { executionId, reason: run.interrupt.reason } });
  }
}

function place(run: Run, worker: PooledWorker): void {
  run.workerId = worker.id;
  worker.running.add(run.ref.executionId);
  worker.taken += 1;
}

/** What a worker is bound to that runs this. */
export function functionOf({ leased }: Run): BoundFunction {
  const { projectName, versionId, function: spec } = leased;
  if (spec === undefined) throw new Error("an execution was leased without its function");
  return { shape: shapeOf(versionId, spec), projectName, versionId, spec };
}
