/**
 * The state machine of an invocation, as a table: for every phase and every event, either the function that makes the
 * next life, or the reason why there is none. `transitions.test.ts` walks every pair.
 */
import {
  type CurrentExecution,
  type EndedExecution,
  type FinishedStatus,
  type Life,
  type LifePolicy,
  nextRevisionRange,
  type Outcome,
} from "./life.js";

/** Where an invocation is, finer than its status. */
export type Phase =
  | "QUEUED"
  | "PROVISIONING"
  | "RUNNING"
  | "TIMING_OUT"
  | "CANCELLING"
  | "SUCCEEDED"
  | "FAILED"
  | "CANCELLED"
  | "TIMED_OUT";

export type LifeEvent =
  | { readonly type: "lease"; readonly executionId: string; readonly schedulerId: string }
  | { readonly type: "start"; readonly workerId: string }
  | { readonly type: "yield"; readonly index: number; readonly value: Uint8Array }
  | { readonly type: "return"; readonly value: Uint8Array | null; readonly interrupted: boolean }
  | {
      readonly type: "throw";
      readonly error: string;
      readonly interrupted: boolean;
      readonly killed: boolean;
      /** Another attempt would not change it. Default false. */
      readonly nonRetryable?: boolean;
    }
  | { readonly type: "giveBack" }
  | { readonly type: "release" }
  | { readonly type: "cancel" }
  | { readonly type: "timeout" }
  | { readonly type: "expire" };

export type EventType = LifeEvent["type"];

/** Why nothing changes. "ignored": it already is so, or it does not matter any more. */
export type Rejection =
  | "ignored"
  | "ExecutionIsNotCurrent"
  | "ExecutionHasAlreadyFinished"
  | "InvocationIsAlreadyTerminated";

export interface Advanced {
  readonly life: Life;
  /** Present where this event ended the current execution. */
  readonly ended?: EndedExecution;
}

type Move<E extends LifeEvent> = (life: Life, event: E, now: number, policy: LifePolicy) => Advanced | Rejection;

type Row = { readonly [T in EventType]: Move<Extract<LifeEvent, { type: T }>> | Rejection };

const NOT_CURRENT = "ExecutionIsNotCurrent";
const ALREADY_FINISHED = "ExecutionHasAlreadyFinished";

const FINISHED_ROW: Row = {
  lease: "ignored",
  start: ALREADY_FINISHED,
  yield: ALREADY_FINISHED,
  return: ALREADY_FINISHED,
  throw: ALREADY_FINISHED,
  giveBack: ALREADY_FINISHED,
  release,
  cancel: (life) => (life.terminated ? "InvocationIsAlreadyTerminated" : "ignored"),
  timeout: "ignored",
  expire: "ignored",
};

export const TRANSITIONS: { readonly [P in Phase]: Row } = {
  QUEUED: {
    lease,
    start: NOT_CURRENT,
    yield: NOT_CURRENT,
    return: NOT_CURRENT,
    throw: NOT_CURRENT,
    giveBack: NOT_CURRENT,
    release, // of an earlier attempt
    cancel: (life, _event, now) => finish({ ...life, cancelRequestedAt: now }, "CANCELLED", now),
    timeout: "ignored",
    expire: (life, _event, now) => (hasBegun(life) ? "ignored" : finish(life, "TIMED_OUT", now)),
  },
  PROVISIONING: {
    lease: "ignored",
    start,
    yield: yieldValue,
    return: succeed,
    throw: fail,
    giveBack,
    release,
    cancel,
    timeout: "ignored", // the timeout counts from the start of user code
    expire: (life, _event, now) => (hasBegun(life) ? "ignored" : timeOut(life, now)),
  },
  RUNNING: {
    lease: "ignored",
    start: "ignored",
    yield: yieldValue,
    return: succeed,
    throw: fail,
    giveBack: "ignored", // what has begun is an attempt
    release,
    cancel,
    timeout: (life, _event, now) => timeOut(life, now),
    expire: "ignored",
  },
  TIMING_OUT: {
    lease: "ignored",
    start,
    yield: yieldValue,
    return: endInterrupted,
    throw: endInterrupted,
    giveBack: (life, _event, now) => (hasBegun(life) ? "ignored" : finish(giveBack(life).life, "TIMED_OUT", now)),
    release,
    cancel,
    timeout: "ignored",
    expire: "ignored",
  },
  CANCELLING: {
    lease: "ignored",
    start,
    yield: yieldValue,
    return: endInterrupted,
    throw: endInterrupted,
    giveBack: giveBackInterrupted,
    release,
    cancel: "ignored",
    timeout: "ignored",
    expire: "ignored",
  },
  SUCCEEDED: FINISHED_ROW,
  FAILED: FINISHED_ROW,
  CANCELLED: FINISHED_ROW,
  TIMED_OUT: FINISHED_ROW,
};

export function phaseOf(life: Life): Phase {
  switch (life.status) {
    case "PENDING":
    case "RUNNING":
      if (life.current === null) return "QUEUED";
      if (life.current.interrupt === "TIMED_OUT") return "TIMING_OUT";
      return life.status === "PENDING" ? "PROVISIONING" : "RUNNING";
    case "CANCELLING":
    case "SUCCEEDED":
    case "FAILED":
    case "CANCELLED":
    case "TIMED_OUT":
      return life.status;
  }
}

/** What `event` makes of `life` at the time `now`. Pure: `life` is left as it is. */
export function advance(life: Life, event: LifeEvent, now: number, policy: LifePolicy): Advanced | Rejection {
  const entry = TRANSITIONS[phaseOf(life)][event.type];
  if (typeof entry === "string") return entry;
  return (entry as Move<LifeEvent>)(life, event, now, policy);
}

/** Whether user code was ever begun: then the ttl is kept. */
function hasBegun(life: Life): boolean {
  return life.startedAt !== null;
}

function lease(life: Life, event: Extract<LifeEvent, { type: "lease" }>, now: number): Advanced {
  return changedForGood(life, {
    attempts: life.attempts + 1,
    held: life.held + 1,
    current: {
      id: event.executionId,
      epoch: 1,
      schedulerId: event.schedulerId,
      workerId: "",
      createdAt: now,
      startedAt: null,
      deadlineAt: null,
      interrupt: null,
      interruptedAt: null,
      yieldIndex: 0,
    },
  });
}

/** An execution that no worker was given: it was no attempt. */
function giveBack(life: Life): Advanced {
  return changed(life, { attempts: life.attempts - 1, held: life.held - 1, current: null });
}

function start(
  life: Life,
  event: Extract<LifeEvent, { type: "start" }>,
  now: number,
  policy: LifePolicy,
): Advanced | Rejection {
  const current = currentOf(life);
  if (current.startedAt !== null) return "ignored";
  return changed(life, {
    status: life.status === "CANCELLING" ? "CANCELLING" : "RUNNING",
    startedAt: life.startedAt ?? now,
    current: { ...current, workerId: event.workerId, startedAt: now, deadlineAt: now + policy.timeoutMs },
  });
}

function yieldValue(life: Life, event: Extract<LifeEvent, { type: "yield" }>): Advanced | Rejection {
  const current = currentOf(life);
  if (event.index <= current.yieldIndex) return "ignored";
  return changed(life, { result: event.value, current: { ...current, yieldIndex: event.index } });
}

function succeed(life: Life, event: Extract<LifeEvent, { type: "return" }>, now: number): Advanced {
  const result = event.value ?? (currentOf(life).yieldIndex > 0 ? life.result : null);
  // Errors of earlier attempts are told by their executions.
  return end({ ...life, result, error: "" }, "SUCCEEDED", "", now, "SUCCEEDED");
}

function fail(life: Life, event: Extract<LifeEvent, { type: "throw" }>, now: number, policy: LifePolicy): Advanced {
  const failures = life.failedAttempts + 1;
  if (failures > policy.maxRetries || event.nonRetryable === true)
    return end(life, "FAILED", event.error, now, "FAILED");
  const waiting = { ...life, status: "PENDING" as const, availableAt: now + policy.retryDelayMs(failures) };
  return end(waiting, "FAILED", event.error, now);
}

/** The execution ran for too long, or did not begin in time. */
function timeOut(life: Life, now: number): Advanced {
  return changedForGood(life, { current: interrupt(currentOf(life), "TIMED_OUT", now) });
}

function cancel(life: Life, _event: LifeEvent, now: number): Advanced {
  const current = currentOf(life);
  return changedForGood(life, {
    status: "CANCELLING",
    cancelRequestedAt: now,
    // An interruption that was under way stays what it was.
    current: current.interrupt === null ? interrupt(current, "CANCELLED", now) : current,
  });
}

/** The end of an execution whose interruption was asked for. A success that came before its delivery stands. */
function endInterrupted(life: Life, event: Extract<LifeEvent, { type: "return" | "throw" }>, now: number): Advanced {
  const status = interruptedStatus(life);
  if (event.type === "throw") {
    const aborted = event.interrupted && !event.killed;
    return aborted ? end(life, "ABORTED", "", now, status) : end(life, "FAILED", event.error, now, status);
  }
  if (!event.interrupted) return succeed(life, event, now);
  return end({ ...life, result: event.value ?? life.result }, "ABORTED", "", now, status);
}

function interruptedStatus(life: Life): FinishedStatus {
  return currentOf(life).interrupt === "TIMED_OUT" ? "TIMED_OUT" : "CANCELLED";
}

/** What was cancelled before a worker had it. */
function giveBackInterrupted(life: Life, _event: LifeEvent, now: number): Advanced | Rejection {
  if (currentOf(life).startedAt !== null) return "ignored"; // what has begun is an attempt
  return finish(giveBack(life).life, interruptedStatus(life), now);
}

/** Of an execution that has ended: the current one holds its worker until then (L3). */
function release(life: Life): Advanced | Rejection {
  if (life.held === (life.current === null ? 0 : 1)) return "ignored";
  const held = life.held - 1;
  return changed(life, { held, terminated: life.finishedAt !== null && held === 0 });
}

function end(life: Life, outcome: Outcome, error: string, now: number, status?: FinishedStatus): Advanced {
  const current = currentOf(life);
  const failedAttempts = life.failedAttempts + (outcome === "FAILED" ? 1 : 0);
  const next = { ...life, failedAttempts, error: error === "" ? life.error : error, current: null };
  return {
    ...(status === undefined ? changedForGood(next, {}) : finish(next, status, now)),
    ended: {
      id: current.id,
      attemptNumber: life.attempts,
      epoch: current.epoch,
      schedulerId: current.schedulerId,
      workerId: current.workerId,
      outcome,
      error,
      createdAt: current.createdAt,
      startedAt: current.startedAt,
      finishedAt: now,
    },
  };
}

function finish(life: Life, status: FinishedStatus, now: number): Advanced {
  return changedForGood(life, { status, finishedAt: now, terminated: life.held === 0 });
}

function interrupt(current: CurrentExecution, cause: "CANCELLED" | "TIMED_OUT", now: number): CurrentExecution {
  return { ...current, interrupt: cause, interruptedAt: now };
}

function changed(life: Life, changes: Partial<Life>): Advanced {
  return { life: { ...life, ...changes, revision: life.revision + 1 } };
}

/** Above all revisions of the execution so far: a crash may take back those of its start and its yields, which watchers have. */
function changedForGood(life: Life, changes: Partial<Life>): Advanced {
  return { life: { ...life, ...changes, revision: nextRevisionRange(life.revision) } };
}

function currentOf(life: Life): CurrentExecution {
  if (life.current === null) throw new Error(`an invocation that is ${life.status} has no execution`);
  return life.current;
}
