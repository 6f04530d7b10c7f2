/** An invocation as the SDK shows it. */

/** Place of an invocation in its life. The last four are finished, and never change again. */
export type InvocationStatus = "PENDING" | "RUNNING" | "CANCELLING" | FinishedStatus;

export type FinishedStatus = "SUCCEEDED" | "FAILED" | "CANCELLED" | "TIMED_OUT";

/** How an execution ended: ABORTED is one that was interrupted and ended by itself within its grace period. */
export type ExecutionOutcome = "SUCCEEDED" | "FAILED" | "ABORTED";

/** One attempt at an invocation. */
export interface Execution {
  /** "exe-" and 26 characters. */
  readonly id: string;
  /** Number of the attempt, from 1. */
  readonly attemptNumber: number;
  /** Undefined until it has ended. */
  readonly outcome: ExecutionOutcome | undefined;
  /** "ClassName: message" where it failed. */
  readonly error: string | undefined;
  /** Whether it holds no worker any more. */
  readonly terminated: boolean;
  readonly createdAt: Date;
  /** When user code began to run. */
  readonly startedAt: Date | undefined;
  readonly finishedAt: Date | undefined;
  /** "wrk-" and 26 characters. */
  readonly workerId: string | undefined;
}

/** One call of a function. */
export interface Invocation<Result = unknown> {
  /** "inv-" and 26 characters. */
  readonly id: string;
  readonly projectName: string;
  /** The version that it was started on, for life. */
  readonly versionId: string;
  readonly functionName: string;
  /** The invocation whose execution started this one; undefined where it was started from outside. */
  readonly parentInvocationId: string | undefined;
  readonly status: InvocationStatus;
  /** The value returned, or, of a generator, the one most recently yielded; undefined where there is none yet. */
  readonly result: Result | undefined;
  /** "ClassName: message" of the last failure. */
  readonly error: string | undefined;
  /** Whether it holds no worker any more. It may become true a little after a finished status. */
  readonly terminated: boolean;
  readonly numFailedAttempts: number;
  readonly createdAt: Date;
  /** When user code first began to run. */
  readonly startedAt: Date | undefined;
  readonly finishedAt: Date | undefined;
  readonly cancelRequestedAt: Date | undefined;
  /** When it becomes TIMED_OUT unless an execution has begun by then. */
  readonly expiresAt: Date | undefined;
  /** Grows with every change, at times by more than 1. */
  readonly revision: number;
  /** Its executions, oldest first. Filled in by `get` only. */
  readonly executions: readonly Execution[];
}

/** One page of a function's invocations, newest first. */
export interface InvocationIdsList<Result = unknown> {
  readonly invocationIds: readonly string[];
  /** The same invocations, without results and executions. */
  readonly invocations: readonly Invocation<Result>[];
  /** Offset of the next page; undefined where this is the last. */
  readonly offset: string | undefined;
}

export function isFinishedStatus(status: InvocationStatus): status is FinishedStatus {
  return status === "SUCCEEDED" || status === "FAILED" || status === "CANCELLED" || status === "TIMED_OUT";
}
