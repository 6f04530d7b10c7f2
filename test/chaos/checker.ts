/**
 * Judges a history: what was acknowledged is there, what is finished stays as it is, attempts keep their bound, everything
 * ends as its function allows, and nothing is left behind. Pure: a history goes in, complaints come out.
 */
import { EXPECTATIONS, type Expectation, LOST } from "./expectations.js";
import type { HistoryEvent, SeenExecution, SeenInvocation } from "./history.js";

const FINISHED: ReadonlySet<string> = new Set(["SUCCEEDED", "FAILED", "CANCELLED", "TIMED_OUT"]);

type Started = Extract<HistoryEvent, { type: "started" }>;

export function checkHistory(
  events: readonly HistoryEvent[],
  expectations: Readonly<Record<string, Expectation>> = EXPECTATIONS,
): string[] {
  const ofType = <T extends HistoryEvent["type"]>(type: T) =>
    events.filter((event): event is Extract<HistoryEvent, { type: T }> => event.type === type);
  const started = ofType("started");
  const healedAt = events.findIndex(({ type }) => type === "healed");
  const last = new Map<string, SeenInvocation>();
  for (const event of healedAt < 0 ? [] : events.slice(healedAt)) {
    if (event.type === "seen" && event.invocation.executions !== undefined)
      last.set(event.invocation.id, event.invocation);
  }
  return [
    ...(healedAt < 0 ? ["the history has no end: the server was not healed"] : []),
    ...ofType("missing").map(({ id, error }) => `${id} was acknowledged and is missing: ${error}`),
    ...started.filter(({ id }) => !last.has(id)).map(({ id }) => `${id} was not seen at the end`),
    ...checkKeys(started),
    ...checkLists(started, ofType("listed"), ofType("unacknowledged").length),
    ...checkStability(ofType("seen").map(({ invocation }) => invocation)),
    ...checkEnds([...last.values()], started, new Set(ofType("cancelled").map(({ id }) => id)), expectations),
    ...ofType("queue")
      .filter(({ used, queued }) => used !== 0 || queued !== 0)
      .map(
        ({ functionName, used, queued }) => `the queue of ${functionName} still counts ${used} used, ${queued} queued`,
      ),
    ...ofType("leftOver").map(({ what }) => `left behind: ${what}`),
  ];
}

function checkKeys(started: readonly Started[]): string[] {
  const complaints: string[] = [];
  const ids = new Map<string, string>();
  const keyOf = new Map<string, string | undefined>();
  for (const { id, key } of started) {
    if (keyOf.has(id) && (key === undefined || keyOf.get(id) !== key)) {
      complaints.push(`${id} was the answer to two different starts`);
    }
    keyOf.set(id, key);
    if (key === undefined) continue;
    const earlier = ids.get(key);
    if (earlier !== undefined && earlier !== id) complaints.push(`the key ${key} started both ${earlier} and ${id}`);
    ids.set(key, id);
  }
  return complaints;
}

/** Nothing is listed twice or missing, and nothing more was started than was asked for. */
function checkLists(
  started: readonly Started[],
  listed: readonly Extract<HistoryEvent, { type: "listed" }>[],
  unacknowledged: number,
): string[] {
  const complaints: string[] = [];
  let surplus = 0;
  for (const { functionName, ids } of listed) {
    const set = new Set(ids);
    if (set.size !== ids.length) complaints.push(`the list of ${functionName} has an invocation twice`);
    const asked = new Set(started.filter((start) => start.functionName === functionName).map(({ id }) => id));
    for (const id of asked) if (!set.has(id)) complaints.push(`${id} is missing in the list of ${functionName}`);
    surplus += [...set].filter((id) => !asked.has(id)).length;
  }
  if (surplus > unacknowledged) {
    complaints.push(
      `${surplus} invocations are listed that nobody started (${unacknowledged} starts were not answered)`,
    );
  }
  return complaints;
}

/** What was seen of one invocation only goes forward, and stands still when it is finished. */
function checkStability(sightings: readonly SeenInvocation[]): string[] {
  const complaints: string[] = [];
  const newest = new Map<string, SeenInvocation>();
  const finals = new Map<string, string>();
  for (const now of sightings) {
    const before = newest.get(now.id);
    if (FINISHED.has(now.status)) {
      const end = describeEnd(now);
      const earlier = finals.get(now.id);
      if (earlier !== undefined && earlier !== end)
        complaints.push(`${now.id} had finished as ${earlier} and became ${end}`);
      finals.set(now.id, earlier ?? end);
    }
    // Sightings come from several connections: only those that are newer can be compared.
    if (before !== undefined && now.revision >= before.revision) {
      if (FINISHED.has(before.status) && !FINISHED.has(now.status)) {
        complaints.push(`${now.id} was ${before.status} and became ${now.status}`);
      }
      if (now.numFailedAttempts < before.numFailedAttempts) complaints.push(`${now.id} forgot a failed attempt`);
      if (before.terminated && !now.terminated) complaints.push(`${now.id} was terminated and holds a worker again`);
    }
    if (before === undefined || now.revision >= before.revision) newest.set(now.id, now);
  }
  return complaints;
}

function describeEnd({ status, result, error, finishedAtMs, numFailedAttempts }: SeenInvocation): string {
  return JSON.stringify({ status, result, error, finishedAtMs, numFailedAttempts });
}

function checkEnds(
  invocations: readonly SeenInvocation[],
  started: readonly Started[],
  cancelled: ReadonlySet<string>,
  expectations: Readonly<Record<string, Expectation>>,
): string[] {
  const inputs = new Map(started.map(({ id, n }) => [id, n]));
  return invocations.flatMap((invocation) => {
    const expected = expectations[invocation.functionName];
    if (expected === undefined) return [`${invocation.id}: nothing is known of ${invocation.functionName}`];
    const complaints = checkEnd(invocation, expected, inputs.get(invocation.id));
    if (cancelled.has(invocation.id) && !["CANCELLED", "FAILED"].includes(invocation.status)) {
      complaints.push(`was cancelled and is ${invocation.status}`);
    }
    return complaints.map((complaint) => `${invocation.functionName} ${invocation.id} ${complaint}`);
  });
}

function checkEnd(invocation: SeenInvocation, expected: Expectation, n: number | undefined): string[] {
  const { status, result, terminated, numFailedAttempts } = invocation;
  const executions = invocation.executions ?? [];
  const complaints: string[] = [];
  if (!FINISHED.has(status)) return [`has not finished: ${status}`];
  if (!terminated) complaints.push(`is ${status} and still holds a worker`);
  if (executions.length > expected.maxRetries + 1) {
    complaints.push(`had ${executions.length} attempts with maxRetries ${expected.maxRetries}`);
  }
  if (executions.some(({ attemptNumber }, index) => attemptNumber !== index + 1)) {
    complaints.push(`has attempts ${executions.map(({ attemptNumber }) => attemptNumber).join(", ")}`);
  }
  const failures = executions.filter(({ outcome }) => outcome === "FAILED");
  if (failures.length !== numFailedAttempts) {
    complaints.push(`counts ${numFailedAttempts} failed attempts and lists ${failures.length}`);
  }
  if (expected.survives && failures.length > 0) complaints.push(`lost an attempt: ${failures[0]?.error}`);
  complaints.push(...executions.flatMap((execution) => checkExecution(execution, expected, status)));
  if (status === "FAILED") {
    if (failures.length !== expected.maxRetries + 1) {
      complaints.push(`gave up after ${failures.length} failures with maxRetries ${expected.maxRetries}`);
    }
  } else if (!expected.ends.includes(status)) {
    complaints.push(`must not be ${status}`);
  }
  if (status === "SUCCEEDED") {
    if (executions.at(-1)?.outcome !== "SUCCEEDED") complaints.push("succeeded without an execution that did");
    if (n !== undefined && result !== expected.result(n)) complaints.push(`has the result ${result} of the input ${n}`);
  }
  if (executions.slice(0, -1).some(({ outcome }) => outcome !== "FAILED")) {
    complaints.push("was tried again after an attempt that had not failed");
  }
  return complaints;
}

function checkExecution(execution: SeenExecution, expected: Expectation, status: string): string[] {
  const { attemptNumber, outcome, error = "", terminated } = execution;
  const complaints: string[] = [];
  const own = expected.throws(attemptNumber);
  if (!terminated) complaints.push(`still holds the worker of attempt ${attemptNumber}`);
  if (outcome === undefined) complaints.push(`has no end of attempt ${attemptNumber}`);
  if (outcome === "SUCCEEDED" && own !== undefined)
    complaints.push(`succeeded in attempt ${attemptNumber}, which throws`);
  const isInterrupted = status === "CANCELLED" || status === "TIMED_OUT";
  if (outcome === "ABORTED" && !isInterrupted) complaints.push(`has an aborted attempt and is ${status}`);
  if (outcome !== "FAILED" || error.startsWith(LOST) || error === own) return complaints;
  // Code that ignores its interruption is killed; that attempt counts as failed.
  if (isInterrupted && error.startsWith("Invocation")) return complaints;
  return [...complaints, `failed in attempt ${attemptNumber} with ${error}`];
}
