/** What workers are given: the code that they are for, and executions. */
import type { Code } from "../../gen/multinode/registry/v1/function.pb.js";
import { FirstWorks } from "./first_works.js";
import { type Run, shapeOf } from "./run.js";
import type { Scheduler } from "./scheduler.js";
import type { BoundFunction, PoolExit, PooledWorker } from "./worker_pool.js";

/** Versions whose code is remembered. */
const MOST_VERSIONS = 1_000;

export class Deliveries {
  readonly #scheduler: Scheduler;
  readonly #code = new Map<string, Promise<Code>>();
  readonly #firstWorks: FirstWorks;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
    this.#firstWorks = new FirstWorks(
      scheduler.settings,
      () => scheduler.leases.trustedForMs,
      (versionId) => this.#codeOf(versionId),
    );
  }

  bind(worker: PooledWorker, fn: BoundFunction): void {
    this.#scheduler.pool.bind(worker, fn);
    this.sendCode(worker, fn);
  }

  /**
   * Where there is no connection now, it is said when there is one. A worker that has its code ignores it. While its limits
   * are set it fetches the code, and runs nothing of it.
   */
  sendCode(worker: PooledWorker, fn: BoundFunction): void {
    const { projectName, versionId, spec } = fn;
    const prepare = ({ source }: Code) => {
      if (source?.$case === "bundle" && worker.session?.hasCode === false) worker.session.prepare(source.value.digest);
    };
    this.#codeOf(versionId).then(prepare, (err: unknown) => {
      this.#code.delete(versionId);
      this.#scheduler.settings.log.warn({ err, versionId }, "the code of a version could not be had");
      this.#scheduler.endWorker(worker);
    });
    const bind = (code: Code) => worker.session?.bind({ projectName, versionId, function: spec, code });
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
    place(run, pool.startFor(functionOf(run), this.#firstWorks.make(run), exited, imageName));
  }

  sendExecution(run: Run, worker: PooledWorker): void {
    // The worker must have its code first, which it has at once unless it is the first of its version.
    const say = () => this.#sayExecution(run, worker);
    if (worker.session?.hasCode) say();
    else void this.#codeInLimits(worker, run.leased.versionId).then(say, () => {}); // told by `bind`
  }

  /** The code of a version, once the worker may run it. */
  async #codeInLimits(worker: PooledWorker, versionId: string): Promise<Code> {
    const [code] = await Promise.all([this.#codeOf(versionId), worker.limited]);
    return code;
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
      code = this.#scheduler.settings.catalog.getCode({ versionId }).then(({ code }) => {
        if (code === undefined) throw new Error(`the registry gave no code of ${versionId}`);
        return code;
      });
      if (this.#code.size > MOST_VERSIONS) this.#code.clear();
      this.#code.set(versionId, code);
    }
    return code;
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
