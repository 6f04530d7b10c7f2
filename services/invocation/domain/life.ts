/**
 * The life of an invocation: what it is, apart from where it is stored and how it travels. All times are UTC
 * milliseconds.
 *
 * L1. `status` PENDING without a `current` execution is what a scheduler may lease.
 * L2. `current` is the newest execution until it has ended; afterwards there is none.
 * L3. `held` counts the executions, `current` included, that hold a worker. `terminated` = finished and `held` 0.
 * L4. `revision` grows with every change. What may be lost with the power of the machine after it was seen, the start of an
 *     execution and its yields, counts on in a range; each change that is not begins a new one, above all that was seen.
 * L5. A finished life changes in `held`, `terminated` and `revision` only.
 */

export type FinishedStatus = "SUCCEEDED" | "FAILED" | "CANCELLED" | "TIMED_OUT";
export type LifeStatus = "PENDING" | "RUNNING" | "CANCELLING" | FinishedStatus;

export type Outcome = "SUCCEEDED" | "FAILED" | "ABORTED";
export type InterruptCause = "CANCELLED" | "TIMED_OUT";

export interface Life {
  readonly status: LifeStatus;
  readonly revision: number;
  /** Executions made. */
  readonly attempts: number;
  readonly failedAttempts: number;
  readonly held: number;
  readonly terminated: boolean;
  /** Encoded value, opaque here. */
  readonly result: Uint8Array | null;
  readonly error: string;
  readonly startedAt: number | null;
  readonly finishedAt: number | null;
  readonly cancelRequestedAt: number | null;
  /** Not to be leased before. */
  readonly availableAt: number;
  readonly current: CurrentExecution | null;
}

export interface CurrentExecution {
  readonly id: string;
  /** Grows when another scheduler adopts the execution. */
  readonly epoch: number;
  readonly schedulerId: string;
  readonly workerId: string;
  readonly createdAt: number;
  /** When user code began to run; null before. */
  readonly startedAt: number | null;
  /** When it is to be interrupted for its timeout; null before its start. */
  readonly deadlineAt: number | null;
  readonly interrupt: InterruptCause | null;
  readonly interruptedAt: number | null;
  /** Index of the newest yielded value; 0: none. */
  readonly yieldIndex: number;
}

/** An execution that has ended. */
export interface EndedExecution {
  readonly id: string;
  readonly attemptNumber: number;
  readonly epoch: number;
  readonly schedulerId: string;
  readonly workerId: string;
  readonly outcome: Outcome;
  readonly error: string;
  readonly createdAt: number;
  readonly startedAt: number | null;
  readonly finishedAt: number;
}

/** What of a function's options decides how an invocation goes on. */
export interface LifePolicy {
  readonly timeoutMs: number;
  readonly maxRetries: number;
  /** Wait before the next attempt, after this many failures. */
  retryDelayMs(failures: number): number;
}

/** Revisions between two changes that no crash takes back. */
const REVISION_RANGE = 2 ** 24;

/** The first revision after all that an execution may have had (L4). */
export function nextRevisionRange(revision: number): number {
  return (Math.floor(revision / REVISION_RANGE) + 1) * REVISION_RANGE;
}

export const NEW_LIFE: Life = {
  status: "PENDING",
  revision: 1,
  attempts: 0,
  failedAttempts: 0,
  held: 0,
  terminated: false,
  result: null,
  error: "",
  startedAt: null,
  finishedAt: null,
  cancelRequestedAt: null,
  availableAt: 0,
  current: null,
};

export function isFinished(life: Life): boolean {
  return (
    life.status === "SUCCEEDED" ||
    life.status === "FAILED" ||
    life.status === "CANCELLED" ||
    life.status === "TIMED_OUT"
  );
}

/** Whether it waits in the queue of its function (L1). */
export function isQueued(life: Life): boolean {
  return life.status === "PENDING" && life.current === null;
}
