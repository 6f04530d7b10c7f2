import type { Execution, Invocation, InvocationStatus } from "../../invocation.js";
import { formatDuration, formatTime, harmless, shorten } from "./format.js";
import type { Paint } from "./paint.js";
import { fieldLines, tableLines } from "./table.js";
import { jsonValue, prettyValue, valueLine } from "./value.js";

export function paintStatus(paint: Paint, status: InvocationStatus): string {
  switch (status) {
    case "PENDING":
      return paint.dim(status);
    case "RUNNING":
      return paint.cyan(status);
    case "CANCELLING":
    case "CANCELLED":
      return paint.yellow(status);
    case "SUCCEEDED":
      return paint.green(status);
    case "FAILED":
    case "TIMED_OUT":
      return paint.red(status);
  }
}

/** An invocation with all that is known of it, for a person. */
export function invocationLines(
  invocation: Invocation,
  { paint, columns }: { readonly paint: Paint; readonly columns: number },
): string[] {
  const { createdAt, startedAt, finishedAt, cancelRequestedAt, expiresAt } = invocation;
  const lines = fieldLines([
    [paint.dim("invocation"), paint.bold(invocation.id)],
    [paint.dim("status"), statusText(invocation, paint)],
    [paint.dim("project"), invocation.projectName],
    [paint.dim("version"), invocation.versionId],
    [paint.dim("function"), invocation.functionName],
    [paint.dim("parent"), invocation.parentInvocationId],
    [paint.dim("created"), formatTime(createdAt)],
    [paint.dim("started"), startedAt && `${formatTime(startedAt)} (after ${between(createdAt, startedAt)})`],
    [paint.dim("finished"), finishedAt && `${formatTime(finishedAt)}${ran(startedAt, finishedAt)}`],
    [paint.dim("cancel asked"), cancelRequestedAt && formatTime(cancelRequestedAt)],
    [paint.dim("expires"), expiresAt && startedAt === undefined ? formatTime(expiresAt) : undefined],
    [paint.dim("failed attempts"), invocation.numFailedAttempts > 0 ? String(invocation.numFailedAttempts) : undefined],
  ]);
  if (invocation.error !== undefined) lines.push("", paint.dim("error"), paint.red(harmless(invocation.error)));
  if (invocation.result !== undefined) {
    const color = paint.isColorSupported;
    lines.push("", paint.dim("result"), prettyValue(invocation.result, { color, columns }));
  }
  if (invocation.executions.length > 0) lines.push("", ...executionLines(invocation.executions, paint));
  return lines;
}

function statusText({ status, terminated, finishedAt }: Invocation, paint: Paint): string {
  const isEnding = finishedAt !== undefined && !terminated;
  return paintStatus(paint, status) + (isEnding ? paint.dim(" (its worker is still ending)") : "");
}

function executionLines(executions: readonly Execution[], paint: Paint): string[] {
  const rows = executions.map((execution) => [
    execution.id,
    String(execution.attemptNumber),
    execution.outcome ?? (execution.startedAt === undefined ? "PROVISIONING" : "RUNNING"),
    execution.startedAt === undefined ? "-" : formatTime(execution.startedAt),
    execution.startedAt && execution.finishedAt ? between(execution.startedAt, execution.finishedAt) : "-",
    execution.workerId ?? "-",
    shorten(execution.error ?? "", 80),
  ]);
  return tableLines(
    ["EXECUTION", "ATTEMPT", "OUTCOME", "STARTED", "RAN", "WORKER", "ERROR"].map((title) => paint.dim(title)),
    rows,
  );
}

/** A table of invocations, newest first. */
export function invocationTable(invocations: readonly Invocation[], paint: Paint): string[] {
  const rows = invocations.map((invocation) => [
    invocation.id,
    paintStatus(paint, invocation.status),
    formatTime(invocation.createdAt),
    invocation.startedAt && invocation.finishedAt ? between(invocation.startedAt, invocation.finishedAt) : "-",
    shorten(invocation.error ?? "", 60),
  ]);
  return tableLines(
    ["INVOCATION", "STATUS", "CREATED", "RAN", "ERROR"].map((title) => paint.dim(title)),
    rows,
  );
}

/**
 * What an invocation has come to, in one line, such as "result 42" or "error TypeError: no". Empty where there is nothing.
 * While an attempt runs, its progress counts, and not what the one before it failed with.
 */
export function outcomeLine({ result, error, status }: Pick<Invocation, "result" | "error" | "status">): string {
  if (error !== undefined && status !== "SUCCEEDED" && status !== "RUNNING") return `error ${harmless(error)}`;
  return result === undefined ? "" : `result ${valueLine(result)}`;
}

/** An invocation as JSON: the fields of the SDK's Invocation, times as ISO texts, absent ones left out. */
export function invocationJson(invocation: Invocation): Record<string, unknown> {
  const { result, executions, ...fields } = invocation;
  return {
    ...fields,
    ...(result === undefined ? {} : { result: jsonValue(result) }),
    ...(executions.length === 0 ? {} : { executions }),
  };
}

function ran(startedAt: Date | undefined, finishedAt: Date): string {
  return startedAt === undefined ? " (never ran)" : ` (ran ${between(startedAt, finishedAt)})`;
}

function between(from: Date, to: Date): string {
  return formatDuration(to.getTime() - from.getTime());
}
