import { describe, expect, it } from "vitest";
import { type Life, type LifePolicy, NEW_LIFE } from "./life.js";
import {
  type Advanced,
  advance,
  type EventType,
  type LifeEvent,
  type Phase,
  phaseOf,
  TRANSITIONS,
} from "./transitions.js";

const NO_RETRIES: LifePolicy = { timeoutMs: 1_000, maxRetries: 0, retryDelayMs: () => 0 };
const ONE_RETRY: LifePolicy = { timeoutMs: 1_000, maxRetries: 1, retryDelayMs: (failures) => failures * 70 };
const bytes = (...values: number[]) => Uint8Array.from(values);

const lease: LifeEvent = { type: "lease", executionId: "exe-1", schedulerId: "sch-1" };
const start: LifeEvent = { type: "start", workerId: "wrk-1" };
const yielded = (index: number, ...value: number[]): LifeEvent => ({ type: "yield", index, value: bytes(...value) });
const returned = (value: Uint8Array | null = bytes(9), interrupted = false): LifeEvent => ({
  type: "return",
  value,
  interrupted,
});
const threw = (more: { error?: string; interrupted?: boolean; killed?: boolean } = {}): LifeEvent => ({
  type: "throw",
  error: "Error: boom",
  interrupted: false,
  killed: false,
  ...more,
});
const giveBack: LifeEvent = { type: "giveBack" };
const release: LifeEvent = { type: "release" };
const cancel: LifeEvent = { type: "cancel" };
const timeout: LifeEvent = { type: "timeout" };
const expire: LifeEvent = { type: "expire" };

/** Applies events at the times 1, 2, 3 and so on; each must be taken. */
function lived(events: readonly LifeEvent[], policy = NO_RETRIES, from: Life = NEW_LIFE): Life {
  return events.reduce((life, event, index) => taken(life, event, index + 1, policy).life, from);
}

function taken(life: Life, event: LifeEvent, now = 100, policy = NO_RETRIES): Advanced {
  const advanced = advance(life, event, now, policy);
  if (typeof advanced === "string") throw new Error(`${event.type} in ${phaseOf(life)} was rejected: ${advanced}`);
  return advanced;
}

/** One life in each phase. Those that finished still hold their worker. */
const LIVES: Record<Phase, Life> = {
  QUEUED: NEW_LIFE,
  PROVISIONING: lived([lease]),
  RUNNING: lived([lease, start]),
  TIMING_OUT: lived([lease, start, timeout]),
  CANCELLING: lived([lease, start, cancel]),
  SUCCEEDED: lived([lease, start, returned()]),
  FAILED: lived([lease, start, threw()]),
  CANCELLED: lived([lease, start, cancel, threw({ interrupted: true })]),
  TIMED_OUT: lived([lease, start, timeout, threw({ interrupted: true })]),
};

const EVENTS: Record<EventType, LifeEvent> = {
  lease,
  start,
  yield: yielded(1, 1),
  return: returned(),
  throw: threw(),
  giveBack,
  release,
  cancel,
  timeout,
  expire,
};

const ended = {
  lease: "ignored",
  start: "ExecutionHasAlreadyFinished",
  yield: "ExecutionHasAlreadyFinished",
  return: "ExecutionHasAlreadyFinished",
  throw: "ExecutionHasAlreadyFinished",
  giveBack: "ExecutionHasAlreadyFinished",
  cancel: "ignored",
  timeout: "ignored",
  expire: "ignored",
} as const;

/** Every pair: the next phase, or why there is none. Of a function without retries. */
const EXPECTED: Record<Phase, Record<EventType, string>> = {
  QUEUED: {
    lease: "PROVISIONING",
    start: "ExecutionIsNotCurrent",
    yield: "ExecutionIsNotCurrent",
    return: "ExecutionIsNotCurrent",
    throw: "ExecutionIsNotCurrent",
    giveBack: "ExecutionIsNotCurrent",
    release: "ignored",
    cancel: "CANCELLED",
    timeout: "ignored",
    expire: "TIMED_OUT",
  },
  PROVISIONING: {
    lease: "ignored",
    start: "RUNNING",
    yield: "PROVISIONING",
    return: "SUCCEEDED",
    throw: "FAILED",
    giveBack: "QUEUED",
    release: "ignored",
    cancel: "CANCELLING",
    timeout: "ignored",
    expire: "TIMING_OUT",
  },
  RUNNING: {
    lease: "ignored",
    start: "ignored",
    yield: "RUNNING",
    return: "SUCCEEDED",
    throw: "FAILED",
    giveBack: "ignored",
    release: "ignored",
    cancel: "CANCELLING",
    timeout: "TIMING_OUT",
    expire: "ignored",
  },
  TIMING_OUT: {
    lease: "ignored",
    start: "ignored",
    yield: "TIMING_OUT",
    return: "SUCCEEDED",
    throw: "TIMED_OUT",
    giveBack: "ignored",
    release: "ignored",
    cancel: "CANCELLING",
    timeout: "ignored",
    expire: "ignored",
  },
  CANCELLING: {
    lease: "ignored",
    start: "ignored",
    yield: "CANCELLING",
    return: "SUCCEEDED",
    throw: "CANCELLED",
    giveBack: "ignored",
    release: "ignored",
    cancel: "ignored",
    timeout: "ignored",
    expire: "ignored",
  },
  SUCCEEDED: { ...ended, release: "SUCCEEDED" },
  FAILED: { ...ended, release: "FAILED" },
  CANCELLED: { ...ended, release: "CANCELLED" },
  TIMED_OUT: { ...ended, release: "TIMED_OUT" },
};

describe("the table of transitions", () => {
  const phases = Object.keys(TRANSITIONS) as Phase[];
  const pairs = phases.flatMap((phase) => (Object.keys(EVENTS) as EventType[]).map((type) => [phase, type] as const));

  it("is complete", () => {
    expect(Object.keys(EXPECTED).sort()).toEqual([...phases].sort());
    for (const phase of phases) {
      expect(Object.keys(TRANSITIONS[phase]).sort(), phase).toEqual(Object.keys(EVENTS).sort());
    }
  });

  it.each(pairs)("%s, %s", (phase, type) => {
    const before = LIVES[phase];
    expect(phaseOf(before)).toBe(phase);
    const copy = structuredClone(before);
    const advanced = advance(before, EVENTS[type], 50, NO_RETRIES);
    expect(typeof advanced === "string" ? advanced : phaseOf(advanced.life)).toBe(EXPECTED[phase][type]);
    expect(before).toEqual(copy);
    if (typeof advanced !== "string") expect(advanced.life.revision).toBeGreaterThan(before.revision);
  });
});

describe("an attempt that fails", () => {
  it("is followed by another, after the delay of its number", () => {
    const life = lived([lease, start, threw()], ONE_RETRY);
    expect(life).toMatchObject({
      status: "PENDING",
      failedAttempts: 1,
      error: "Error: boom",
      availableAt: 73,
      held: 1,
    });
    expect(life).toMatchObject({ current: null, finishedAt: null, terminated: false });
  });

  it("is the last one where no retry is left", () => {
    const life = lived([lease, start, threw(), lease, threw({ error: "Error: again" })], ONE_RETRY);
    expect(life).toMatchObject({
      status: "FAILED",
      failedAttempts: 2,
      attempts: 2,
      error: "Error: again",
      finishedAt: 5,
    });
  });

  it("counts where it never started, as a provisioning failure does", () => {
    const { life, ended } = taken(
      lived([lease]),
      threw({ killed: true, error: "ProvisioningError: no" }),
      7,
      ONE_RETRY,
    );
    expect(life).toMatchObject({ status: "PENDING", failedAttempts: 1, startedAt: null });
    expect(ended).toMatchObject({ outcome: "FAILED", startedAt: null, finishedAt: 7, attemptNumber: 1 });
  });

  it("leaves its slot held until its worker is gone, also while the next attempt runs", () => {
    const retried = lived([lease, start, threw(), lease, start], ONE_RETRY);
    expect(retried).toMatchObject({ held: 2, attempts: 2 });
    const released = taken(retried, release).life;
    expect(released).toMatchObject({ held: 1, status: "RUNNING", terminated: false });
    // What holds the other slot is the attempt that runs.
    expect(advance(released, release, 100, ONE_RETRY)).toBe("ignored");
  });

  it("is told no more when a later one succeeds", () => {
    const life = lived([lease, start, threw(), lease, start], ONE_RETRY);
    expect(life).toMatchObject({ status: "RUNNING", error: "Error: boom" });
    expect(taken(life, returned()).life).toMatchObject({ status: "SUCCEEDED", error: "", failedAttempts: 1 });
  });

  it("keeps the time when user code first began", () => {
    const life = lived([lease, start, threw(), lease, start], ONE_RETRY);
    expect(life.startedAt).toBe(2);
    expect(life.current).toMatchObject({ startedAt: 5, deadlineAt: 1_005 });
  });
});

describe("cancellation", () => {
  it("of what is queued is its end, and nothing is held", () => {
    expect(lived([cancel])).toMatchObject({ status: "CANCELLED", terminated: true, cancelRequestedAt: 1, attempts: 0 });
  });

  it("between two attempts is its end, but terminated only when the first one's worker is gone", () => {
    const life = lived([lease, start, threw(), cancel], ONE_RETRY);
    expect(life).toMatchObject({ status: "CANCELLED", terminated: false, held: 1 });
    expect(taken(life, release).life).toMatchObject({ terminated: true, held: 0, status: "CANCELLED" });
  });

  it("interrupts what runs and what is being provisioned", () => {
    for (const events of [[lease], [lease, start]]) {
      const life = taken(lived(events), cancel, 60).life;
      expect(life).toMatchObject({ status: "CANCELLING", cancelRequestedAt: 60 });
      expect(life.current).toMatchObject({ interrupt: "CANCELLED", interruptedAt: 60 });
    }
  });

  it("of an execution that was not started lets it start and stay cancelling", () => {
    expect(taken(lived([lease, cancel]), start, 60).life).toMatchObject({ status: "CANCELLING", startedAt: 60 });
  });

  it.each([
    ["ended by itself", { interrupted: true }, "ABORTED", 0],
    ["killed after its grace period", { interrupted: true, killed: true }, "FAILED", 1],
    ["threw before it was delivered", {}, "FAILED", 1],
    ["lost its worker", { killed: true }, "FAILED", 1],
  ])("is the end of one that %s, and is not retried", (_, how, outcome, failedAttempts) => {
    const { life, ended } = taken(LIVES.CANCELLING, threw(how), 70, ONE_RETRY);
    expect(life).toMatchObject({ status: "CANCELLED", failedAttempts });
    expect(ended?.outcome).toBe(outcome);
  });

  it("of what has not begun is no failed attempt", () => {
    for (const interruption of [cancel, expire]) {
      const { life, ended } = taken(lived([lease, interruption]), threw({ interrupted: true }), 70, ONE_RETRY);
      expect(life).toMatchObject({ failedAttempts: 0, startedAt: null, error: "" });
      expect(ended).toMatchObject({ outcome: "ABORTED", startedAt: null });
    }
  });

  it("leaves a success standing that came before its delivery", () => {
    expect(taken(LIVES.CANCELLING, returned()).life).toMatchObject({ status: "SUCCEEDED", result: bytes(9) });
    const { life, ended } = taken(LIVES.CANCELLING, returned(bytes(7), true));
    expect(life).toMatchObject({ status: "CANCELLED", result: bytes(7) });
    expect(ended?.outcome).toBe("ABORTED");
  });

  it("during a timeout's interruption does not change its cause", () => {
    const life = taken(LIVES.TIMING_OUT, cancel, 60).life;
    expect(life).toMatchObject({ status: "CANCELLING", cancelRequestedAt: 60 });
    expect(life.current).toMatchObject({ interrupt: "TIMED_OUT", interruptedAt: 3 });
    expect(taken(life, threw({ interrupted: true })).life.status).toBe("TIMED_OUT");
  });

  it("is refused once it is terminated", () => {
    const life = taken(LIVES.SUCCEEDED, release).life;
    expect(advance(life, cancel, 100, NO_RETRIES)).toBe("InvocationIsAlreadyTerminated");
    expect(advance(life, release, 100, NO_RETRIES)).toBe("ignored");
  });
});

describe("time", () => {
  it("counts a timeout from the start of user code", () => {
    const life = taken(lived([lease]), start, 500).life;
    expect(life.current?.deadlineAt).toBe(1_500);
    expect(LIVES.PROVISIONING.current?.deadlineAt).toBeNull();
  });

  it("of a timeout that had to be killed is not retried", () => {
    const { life, ended } = taken(LIVES.TIMING_OUT, threw({ interrupted: true, killed: true }), 70, ONE_RETRY);
    expect(life).toMatchObject({ status: "TIMED_OUT", failedAttempts: 1 });
    expect(ended?.outcome).toBe("FAILED");
  });

  it("that no other attempt would change is the last", () => {
    const failed = taken(LIVES.RUNNING, { ...threw(), nonRetryable: true } as LifeEvent, 70, ONE_RETRY).life;
    expect(failed).toMatchObject({ status: "FAILED", failedAttempts: 1 });
    const cancelled = taken(LIVES.CANCELLING, { ...threw(), nonRetryable: true } as LifeEvent, 70, ONE_RETRY).life;
    expect(cancelled).toMatchObject({ status: "CANCELLED" });
  });

  it("of the ttl ends what waits again, and what waits for a worker, where nothing has begun", () => {
    const again = lived([lease, threw()], ONE_RETRY);
    expect(taken(again, expire, 100, ONE_RETRY).life).toMatchObject({ status: "TIMED_OUT", startedAt: null });
    const late = taken(LIVES.PROVISIONING, expire, 60).life;
    expect(late).toMatchObject({ status: "PENDING", current: { interrupt: "TIMED_OUT", interruptedAt: 60 } });
    expect(taken(late, threw({ interrupted: true }), 70, ONE_RETRY).life).toMatchObject({ status: "TIMED_OUT" });
    expect(taken(late, giveBack).life).toMatchObject({ status: "TIMED_OUT", terminated: true, attempts: 0 });
    expect(taken(late, start, 65).life).toMatchObject({ status: "RUNNING", current: { interrupt: "TIMED_OUT" } });
  });

  it("keeps its ttl once an execution has begun", () => {
    const life = lived([lease, start, threw()], ONE_RETRY);
    expect(advance(life, expire, 100, ONE_RETRY)).toBe("ignored");
    expect(taken(NEW_LIFE, expire).life).toMatchObject({ status: "TIMED_OUT", terminated: true, startedAt: null });
  });
});

describe("results", () => {
  it("are the value returned, or else the last one yielded", () => {
    const yielding = lived([lease, start, yielded(1, 1), yielded(4, 4)]);
    expect(yielding).toMatchObject({ status: "RUNNING", result: bytes(4), current: { yieldIndex: 4 } });
    expect(taken(yielding, returned(null)).life.result).toEqual(bytes(4));
    expect(taken(yielding, returned(bytes(8))).life.result).toEqual(bytes(8));
  });

  it("stay visible when it fails, is cancelled or times out", () => {
    const yielding = [lease, start, yielded(1, 1)];
    expect(lived([...yielding, threw()])).toMatchObject({ status: "FAILED", result: bytes(1) });
    expect(lived([...yielding, cancel, threw({ interrupted: true })])).toMatchObject({ result: bytes(1) });
    expect(lived([...yielding, timeout, yielded(2, 2), returned(null, true)])).toMatchObject({
      status: "TIMED_OUT",
      result: bytes(2),
    });
  });

  it("of a failed attempt are not the success of the next one", () => {
    const life = lived([lease, start, yielded(1, 1), threw(), lease, start, returned(null)], ONE_RETRY);
    expect(life).toMatchObject({ status: "SUCCEEDED", result: null });
  });

  it("drop a value that comes twice or late", () => {
    const life = lived([lease, start, yielded(3, 3)]);
    for (const index of [0, 1, 3]) expect(advance(life, yielded(index, 7), 9, NO_RETRIES)).toBe("ignored");
  });
});

describe("an execution that is given back", () => {
  it("was no attempt: the next one has its number, and the ttl counts again", () => {
    const life = lived([lease, giveBack]);
    expect(life).toEqual({ ...NEW_LIFE, revision: life.revision });
    expect(phaseOf(taken(life, expire).life)).toBe("TIMED_OUT");
    expect(lived([lease, giveBack, lease, start, threw()])).toMatchObject({ status: "FAILED", attempts: 1 });
  });

  it("ends what is being cancelled, and costs no attempt", () => {
    const cancelled = lived([lease, cancel, giveBack]);
    expect(cancelled).toMatchObject({ status: "CANCELLED", terminated: true, held: 0, attempts: 0, failedAttempts: 0 });
    expect(lived([lease, expire, cancel, giveBack])).toMatchObject({ status: "TIMED_OUT", terminated: true });
    const again = lived([lease, start, threw(), lease, cancel, giveBack], ONE_RETRY);
    expect(again).toMatchObject({ status: "CANCELLED", attempts: 1, failedAttempts: 1 });
  });
});
