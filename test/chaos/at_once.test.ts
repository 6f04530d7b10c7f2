import { expect, test } from "vitest";
import { checkLimits, mostAtOnce } from "./at_once.js";
import type { JournalLine } from "./journal.js";

function line(event: JournalLine["event"], execution: number, functionName = "limited"): JournalLine {
  const executionId = `exe-${execution}`;
  return { event, invocationId: "inv", executionId, attemptNumber: 1, functionName, worker: executionId };
}

const five = [1, 2, 3, 4, 5].map((execution) => line("begin", execution));

test("as many as the limit allows, of each function", () => {
  const lines = [...five, line("begin", 6, "steady"), line("gone", 3), line("begin", 7)];
  expect(mostAtOnce(lines)).toEqual(
    new Map([
      ["limited", 5],
      ["steady", 1],
    ]),
  );
  expect(checkLimits(lines)).toEqual([]);
});

test("an execution counts until its worker is gone, also when its code has ended", () => {
  const lines = [...five, line("end", 1), line("begin", 6), line("gone", 1)];
  expect(checkLimits(lines)).toEqual(["6 executions of limited ran at once, with maxConcurrency 5"]);
});
