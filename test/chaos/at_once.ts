/** How many executions of each function held a worker at the same time, as a recorder outside of the system saw it. */
import { EXPECTATIONS, type Expectation } from "./expectations.js";
import type { JournalLine } from "./journal.js";

/** The most at any instant, by function. An execution counts until its worker is gone, or free for something else. */
export function mostAtOnce(lines: readonly JournalLine[]): ReadonlyMap<string, number> {
  const running = new Map<string, Set<string>>();
  const most = new Map<string, number>();
  for (const { event, functionName, executionId } of lines) {
    const now = running.get(functionName) ?? new Set();
    running.set(functionName, now);
    if (event === "begin") now.add(executionId);
    if (event === "gone") now.delete(executionId);
    most.set(functionName, Math.max(most.get(functionName) ?? 0, now.size));
  }
  return most;
}

export function checkLimits(
  lines: readonly JournalLine[],
  expectations: Readonly<Record<string, Expectation>> = EXPECTATIONS,
): string[] {
  return [...mostAtOnce(lines)].flatMap(([functionName, most]) => {
    const limit = expectations[functionName]?.maxConcurrency ?? 0;
    return most > limit ? [`${most} executions of ${functionName} ran at once, with maxConcurrency ${limit}`] : [];
  });
}
