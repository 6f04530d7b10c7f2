import { expect, test } from "vitest";
import type { SeenInvocation } from "./history.js";
import { checkJournal, type JournalLine } from "./journal.js";

function line(event: "begin" | "end", attemptNumber: number, changes: Partial<JournalLine> = {}): JournalLine {
  const executionId = `exe-${attemptNumber}`;
  const worker = `worker ${attemptNumber}`;
  return { event, invocationId: "inv-1", executionId, attemptNumber, functionName: "steady", worker, ...changes };
}

function succeeded(attempts: number): SeenInvocation {
  return {
    id: "inv-1",
    functionName: "steady",
    parentId: undefined,
    status: "SUCCEEDED",
    result: "1",
    error: undefined,
    terminated: true,
    numFailedAttempts: attempts - 1,
    finishedAtMs: 1,
    revision: 1,
    executions: Array.from({ length: attempts }, (_, index) => ({
      attemptNumber: index + 1,
      outcome: index + 1 === attempts ? "SUCCEEDED" : "FAILED",
      error: undefined,
      terminated: true,
    })),
  };
}

test("an attempt that was lost, and another that came to its end", () => {
  expect(checkJournal([line("begin", 1), line("begin", 2), line("end", 2)], [succeeded(2)])).toEqual([]);
});

test("workers that are to be used again may be", () => {
  const shared = { functionName: "shared", worker: "one" };
  expect(checkJournal([line("begin", 1, shared), line("begin", 2, shared)], [])).toEqual([]);
});

const BAD: Record<string, readonly [JournalLine[], SeenInvocation[], RegExp]> = {
  "an execution that ran twice": [
    [line("begin", 1), line("begin", 1, { worker: "other" })],
    [],
    /attempt 1, ran twice/,
  ],
  "an attempt that outlives its successor": [
    [line("begin", 1), line("begin", 2), line("end", 1)],
    [],
    /attempt 1, still ran after attempt 2 had begun/,
  ],
  "a fresh worker that is not": [
    [line("begin", 1), line("begin", 2, { worker: "worker 1" })],
    [],
    /ran in a worker that had been used/,
  ],
  "a success that did not run": [[line("begin", 1)], [succeeded(1)], /did not run to its end/],
  "an attempt that the server does not know": [
    [line("begin", 1), line("begin", 2), line("end", 2)],
    [succeeded(1)],
    /ran more often than the server knows/,
  ],
};

test.each(Object.entries(BAD))("it catches %s", (_name, [lines, invocations, complaint]) => {
  expect(checkJournal(lines, invocations).join("\n")).toMatch(complaint);
});
