/** What really ran, as the functions themselves wrote it down, compared with what the server says. */
import { existsSync, readFileSync } from "node:fs";
import { EXPECTATIONS, type Expectation } from "./expectations.js";
import type { SeenInvocation } from "./history.js";

export interface JournalLine {
  /** "gone": its worker is gone, or free for something else. Only a recorder sees that. */
  readonly event: "begin" | "end" | "gone";
  readonly invocationId: string;
  readonly executionId: string;
  readonly attemptNumber: number;
  readonly functionName: string;
  /** The process, unlike any other. */
  readonly worker: string;
}

export function readJournal(file: string): JournalLine[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line) as JournalLine);
}

/** `invocations`: as they were seen at the end. */
export function checkJournal(
  lines: readonly JournalLine[],
  invocations: readonly SeenInvocation[],
  expectations: Readonly<Record<string, Expectation>> = EXPECTATIONS,
): string[] {
  const complaints: string[] = [];
  const begun = new Set<string>();
  const newestAttempt = new Map<string, number>();
  const workers = new Set<string>();
  const ended = new Set<string>();
  for (const { event, invocationId, executionId, attemptNumber, functionName, worker } of lines) {
    if (event === "gone") continue;
    const name = `${functionName} ${invocationId}, attempt ${attemptNumber}`;
    const newest = newestAttempt.get(invocationId) ?? 0;
    if (attemptNumber < newest) complaints.push(`${name}, still ran after attempt ${newest} had begun`);
    newestAttempt.set(invocationId, Math.max(newest, attemptNumber));
    if (event === "end") {
      ended.add(`${invocationId} ${attemptNumber}`);
      continue;
    }
    if (begun.has(executionId)) complaints.push(`${name}, ran twice`);
    begun.add(executionId);
    if (expectations[functionName]?.fresh !== true) continue;
    if (workers.has(worker)) complaints.push(`${name}, ran in a worker that had been used`);
    workers.add(worker);
  }
  for (const { id, functionName, status, executions = [] } of invocations) {
    const attempts = newestAttempt.get(id) ?? 0;
    if (attempts > executions.length) complaints.push(`${functionName} ${id} ran more often than the server knows`);
    if (status === "SUCCEEDED" && !ended.has(`${id} ${executions.length}`)) {
      complaints.push(`${functionName} ${id} is said to have succeeded, and did not run to its end`);
    }
  }
  return complaints;
}
