/** An execution that this scheduler has leased, until it holds no worker any more. */
import {
  type ExecutionEnded,
  type ExecutionRef,
  type ExecutionYielded,
  InterruptReason,
  type LeasedExecution,
} from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { OPTION_LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import type { Lessor } from "./leases/lessors.js";
import type { FunctionShape } from "./plan.js";
import type { WorkerExit } from "./runtime/runtime.js";
import { STANDARD_IMAGE, sizeOf } from "./workers/worker_kind.js";
import type { PoolExit, PooledWorker } from "./workers/worker_pool.js";

/** What loses worker after worker without having begun is to blame itself. */
const MOST_TIMES_PLACED_AGAIN = 2;

export interface Run {
  readonly ref: ExecutionRef;
  readonly leased: LeasedExecution;
  readonly shape: FunctionShape;
  /** Who leased it; undefined where it was adopted. */
  readonly lessor: Lessor | undefined;
  /** Until when its user code may begin, by `performance.now()`. Infinity: at any time. */
  readonly beginBy: number;
  /** Undefined while it waits for one. */
  workerId: string | undefined;
  /** Whether its worker may have it: it was said on a connection, or the worker was started with it. */
  wasSent: boolean;
  /** How often it was taken from a worker without having begun. */
  timesPlacedAgain: number;
  /** Whether its end was reported. What remains is its release. */
  ended: boolean;
  /** Whether it is not this scheduler's any more. */
  foreign: boolean;
  interrupt: { readonly reason: InterruptReason; readonly timer: NodeJS.Timeout } | undefined;
  /** Whether its grace period is over and its worker is being killed for it. */
  killed: boolean;
  isStartReported: boolean;
  /** Whether a value that it yielded is being reported. */
  isYieldUnderWay: boolean;
  /** The newest value that is not reported, because one before it is being reported. */
  nextYield: ExecutionYielded | undefined;
  /** Number of the last line that its worker sent. */
  workerLines: number;
  /** Lines that its worker printed outside of the SDK. They are numbered together with those that it sent. */
  printedLines: number;
  /** Size of its log so far, roughly. */
  logBytes: number;
}

/** How long from now its user code may begin; undefined: at any time. */
export function beginWithinMs({ beginBy }: Run): number | undefined {
  return beginBy === Number.POSITIVE_INFINITY ? undefined : Math.max(0, Math.floor(beginBy - performance.now()));
}

export function newRun(leased: LeasedExecution, lessor?: Lessor): Run {
  if (leased.ref === undefined) throw new Error("an execution was leased without its ref");
  return {
    ref: leased.ref,
    leased,
    shape: shapeOf(leased.versionId, leased.function),
    lessor,
    beginBy: performance.now() + (leased.beginWithinMs ?? Number.POSITIVE_INFINITY),
    workerId: undefined,
    wasSent: false,
    timesPlacedAgain: 0,
    ended: false,
    foreign: false,
    interrupt: undefined,
    killed: false,
    isStartReported: false,
    isYieldUnderWay: false,
    nextYield: undefined,
    workerLines: (leased.lastLogLine ?? 0) - (leased.printedLogLines ?? 0),
    printedLines: leased.printedLogLines ?? 0,
    logBytes: 0,
  };
}

/** It has no worker any more, and never had one as far as its function is concerned. */
export function unplace(run: Run): void {
  run.workerId = undefined;
  run.wasSent = false;
  run.timesPlacedAgain += 1;
}

/**
 * Whether an execution is to have another worker because this one is gone: it certainly never began, so that is no attempt.
 * Where it may have begun, it counts: nobody who asked for no retries is to have his code run twice.
 */
export function neverBegan(run: Run, exit: PoolExit, worker: PooledWorker | undefined): boolean {
  if (exit.failedStart?.imageIsMissing) return true;
  if (worker === undefined || run.interrupt !== undefined || run.timesPlacedAgain >= MOST_TIMES_PLACED_AGAIN)
    return false;
  // It has said what it began, before it said that it ends.
  if (worker.isLeaving) return !run.isStartReported;
  // Placed in one that was gone already. It has served others, so its loss is not for want of code or limits.
  return !run.wasSent && worker.taken > worker.running.size;
}

export function shapeOf(versionId: string, fn: LeasedExecution["function"]): FunctionShape {
  const options = fn?.options;
  const most = options?.maxInvocationsPerWorker ?? OPTION_LIMITS.maxInvocationsPerWorker.default;
  return {
    key: `${versionId}/${fn?.functionName ?? ""}`,
    size: sizeOf({
      cpu: options?.cpu ?? OPTION_LIMITS.cpu.default,
      memoryBytes: options?.memoryBytes ?? OPTION_LIMITS.memoryBytes.default,
    }),
    workerConcurrency: options?.workerConcurrency ?? OPTION_LIMITS.workerConcurrency.default,
    maxInvocationsPerWorker: most === 0 ? Number.POSITIVE_INFINITY : most,
    idleTimeoutMs: options?.idleTimeoutMs ?? OPTION_LIMITS.idleTimeoutMs.default,
    image: fn?.contextDigest ?? STANDARD_IMAGE,
  };
}

/**
 * The end of an execution whose worker is gone. What was interrupted and certainly never began is no failed attempt; where its
 * worker was told of it, it may have begun, and that it was killed counts.
 *
 * @param isStopping whether the scheduler is ending its workers, since it stops itself
 */
export function lostWith(
  run: Run,
  exit: PoolExit,
  worker: PooledWorker | undefined,
  isStopping: boolean,
): ExecutionEnded {
  const isInterrupted = run.interrupt !== undefined;
  // One that leaves has said what it began.
  const isUnbegun = !run.wasSent || (worker?.isLeaving === true && !run.isStartReported);
  if (isInterrupted && isUnbegun) return abortedUnbegun();
  const ended = threw(lossOf(run, exit, worker?.failure, isStopping), true);
  // That it began may have been on its way. What may have begun has, for its ttl too.
  const hasStarted = worker?.failure === undefined && exit.failedStart === undefined;
  const mayHaveBegun = hasStarted && !isUnbegun && !run.isStartReported;
  return { ...ended, interrupted: isInterrupted, workerId: (mayHaveBegun && run.workerId) || "" };
}

/** The end of an execution that was interrupted and never began. */
export function abortedUnbegun(): ExecutionEnded {
  return { ...threw("", false), interrupted: true, released: true };
}

/** The end of an execution that brought no result. One that was killed holds no worker any more. */
export function threw(error: string, killed: boolean): ExecutionEnded {
  return { result: { $case: "threw", value: { error } }, interrupted: false, killed, released: killed, workerId: "" };
}

/**
 * The error of an execution whose worker is gone.
 *
 * @param failure why its worker never came
 */
function lossOf(run: Run, exit: WorkerExit, failure: string | undefined, isStopping: boolean): string {
  if (run.killed) {
    const what =
      run.interrupt?.reason === InterruptReason.TIMED_OUT ? "InvocationTimedOutError" : "InvocationCancelledError";
    return `${what}: the execution was killed when its grace period was over`;
  }
  if (failure !== undefined) return `ProvisioningError: the worker ${failure}`;
  if (exit.outOfMemory) return `OutOfMemoryError: the worker ${exit.description}, out of memory`;
  // "Was killed by SIGKILL" would read as if something had gone wrong.
  if (isStopping) return "WorkerLostError: the worker was ended, since its server was stopped";
  return `WorkerLostError: the worker ${exit.description}`;
}
