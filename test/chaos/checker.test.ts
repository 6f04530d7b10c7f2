import { expect, test } from "vitest";
import { checkHistory } from "./checker.js";
import type { HistoryEvent, SeenExecution, SeenInvocation } from "./history.js";

const SUCCESS: SeenExecution = { attemptNumber: 1, outcome: "SUCCEEDED", error: undefined, terminated: true };
const GOOD: SeenInvocation = {
  id: "inv-1",
  functionName: "steady",
  parentId: undefined,
  status: "SUCCEEDED",
  result: "70",
  error: undefined,
  terminated: true,
  numFailedAttempts: 0,
  finishedAtMs: 1_000,
  revision: 5,
  executions: [SUCCESS],
};
const STARTED: HistoryEvent = { type: "started", id: "inv-1", functionName: "steady", n: 7 };

const lost = (attemptNumber: number): SeenExecution => ({
  attemptNumber,
  outcome: "FAILED",
  error: "WorkerLostError: the worker was lost when its server ended",
  terminated: true,
});
const threw = (attemptNumber: number, error: string): SeenExecution => ({ ...lost(attemptNumber), error });
const seen = (changes: Partial<SeenInvocation> = {}): HistoryEvent => ({
  type: "seen",
  invocation: { ...GOOD, ...changes },
});
const failed = (functionName: string, ...executions: SeenExecution[]): HistoryEvent =>
  seen({ functionName, status: "FAILED", result: undefined, numFailedAttempts: executions.length, executions });

/** A history of one invocation that ended as `end` says. */
function complaintsAfter(end: HistoryEvent, ...rest: HistoryEvent[]): string[] {
  return checkHistory([STARTED, { type: "healed" }, end, ...rest]);
}

test("a good history has no complaints", () => {
  expect(complaintsAfter(seen())).toEqual([]);
  const twice = [lost(1), { ...SUCCESS, attemptNumber: 2 }];
  expect(complaintsAfter(seen({ numFailedAttempts: 1, executions: twice }))).toEqual([]);
  expect(complaintsAfter(failed("fragile", lost(1)))).toEqual([]);
  const hopeless = [threw(1, "TypeError: hopeless"), lost(2), threw(3, "TypeError: hopeless")];
  expect(complaintsAfter(failed("hopeless", ...hopeless))).toEqual([]);
  expect(complaintsAfter(seen({ functionName: "endless", status: "CANCELLED", executions: [] }))).toEqual([]);
});

const BAD: Record<string, readonly [HistoryEvent[], RegExp]> = {
  "an invocation that is gone": [
    [STARTED, { type: "missing", id: "inv-1", error: "no" }, { type: "healed" }, seen()],
    /inv-1 was acknowledged and is missing/,
  ],
  "one that nobody sees at the end": [[STARTED, seen(), { type: "healed" }], /inv-1 was not seen at the end/],
  "a test that did not come to its end": [[STARTED, seen()], /has no end/],
  "another result": [
    [STARTED, seen({ result: "71" }), { type: "healed" }, seen()],
    /had finished as .*71.* and became .*70/,
  ],
  "another finish time": [[STARTED, seen({ finishedAtMs: 999 }), { type: "healed" }, seen()], /had finished as/],
  "a finished one that runs again": [
    [STARTED, seen(), seen({ status: "RUNNING", terminated: false, revision: 6 }), { type: "healed" }, seen()],
    /was SUCCEEDED and became RUNNING/,
  ],
  "a forgotten failure": [
    [STARTED, seen({ status: "PENDING", numFailedAttempts: 1, revision: 4 }), { type: "healed" }, seen()],
    /forgot a failed attempt/,
  ],
  "one key, two invocations": [
    [{ ...STARTED, key: "a" } as HistoryEvent, { ...STARTED, id: "inv-2", key: "a" } as HistoryEvent],
    /the key a started both inv-1 and inv-2/,
  ],
  "one id for two starts": [[STARTED, STARTED], /the answer to two different starts/],
  "one that is listed twice": [
    [{ type: "listed", functionName: "steady", ids: ["inv-1", "inv-1"] }],
    /the list of steady has an invocation twice/,
  ],
  "one that is not listed": [
    [STARTED, { type: "listed", functionName: "steady", ids: [] }],
    /inv-1 is missing in the list of steady/,
  ],
  "one that nobody started": [
    [{ type: "listed", functionName: "steady", ids: ["inv-9"] }],
    /1 invocations are listed that nobody started/,
  ],
  "a slot that is still counted": [
    [{ type: "queue", functionName: "steady", used: 1, queued: 0 }],
    /the queue of steady still counts 1 used/,
  ],
  "a process that is left": [[{ type: "leftOver", what: "worker process 7" }], /left behind: worker process 7/],
};

test.each(Object.entries(BAD))("it catches %s", (_name, [events, complaint]) => {
  expect(checkHistory(events).join("\n")).toMatch(complaint);
});

const BAD_ENDS: Record<string, readonly [HistoryEvent, RegExp]> = {
  "one that never ends": [seen({ status: "RUNNING" }), /has not finished: RUNNING/],
  "one that keeps its worker": [seen({ terminated: false }), /still holds a worker/],
  "an execution that keeps its worker": [
    seen({ executions: [{ ...SUCCESS, terminated: false }] }),
    /still holds the worker of attempt 1/,
  ],
  "a wrong result": [seen({ result: "71" }), /has the result 71 of the input 7/],
  "too many attempts": [failed("fragile", lost(1), lost(2)), /had 2 attempts with maxRetries 0/],
  "a gap between attempts": [
    seen({ numFailedAttempts: 1, executions: [lost(1), { ...SUCCESS, attemptNumber: 3 }] }),
    /has attempts 1, 3/,
  ],
  "failures that are not counted": [
    seen({ executions: [lost(1), { ...SUCCESS, attemptNumber: 2 }] }),
    /counts 0 failed attempts and lists 1/,
  ],
  "one that gives up too soon": [failed("steady", lost(1)), /gave up after 1 failures with maxRetries 50/],
  "a failure that user code did not cause": [
    failed("fragile", threw(1, "TypeError: what?")),
    /failed in attempt 1 with TypeError: what\?/,
  ],
  "a success that cannot be": [
    seen({ functionName: "hopeless" }),
    /succeeded in attempt 1, which throws[\s\S]*must not be SUCCEEDED/,
  ],
  "a success without a successful attempt": [seen({ executions: [] }), /succeeded without an execution that did/],
  "a lost attempt of what survives": [failed("lasting", lost(1)), /lost an attempt: WorkerLostError/],
  "a retry after a success": [
    seen({ executions: [SUCCESS, { ...SUCCESS, attemptNumber: 2 }] }),
    /was tried again after an attempt that had not failed/,
  ],
  "an interruption that nobody asked for": [
    seen({ status: "CANCELLED", executions: [{ ...SUCCESS, outcome: "ABORTED" }] }),
    /must not be CANCELLED/,
  ],
};

test.each(Object.entries(BAD_ENDS))("it catches %s", (_name, [end, complaint]) => {
  expect(complaintsAfter(end).join("\n")).toMatch(complaint);
});

test("it catches a cancellation that was acknowledged and came to nothing", () => {
  const complaints = complaintsAfter(seen(), { type: "cancelled", id: "inv-1" });
  expect(complaints).toEqual(["steady inv-1 was cancelled and is SUCCEEDED"]);
});
