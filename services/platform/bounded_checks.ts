/**
 * Checks by what strangers wrote, such as the patterns of a JSON Schema, which may take for ever: each ends when it has taken
 * too much of the processor. V8 ends a match of a pattern, too.
 */
import { createContext, Script } from "node:vm";

const TIMED_OUT = "ERR_SCRIPT_EXECUTION_TIMEOUT";
const US_PER_MS = 1_000;
/** The time of the clock in which a check ends is a little more than the processor's that it had. */
const MOSTLY = 0.8;

const context: { work: () => void } = { work: () => {} };
const SCRIPT = new Script("work()");
createContext(context);

/**
 * Answers the results of the first checks, at least one: as many as came to their end in the time. Where it is over for the
 * first, that is undefined. Who goes on with the rest lets others have the processor before. All of them share what a bound
 * costs, which is 0.2 ms.
 */
export function boundedChecks<T>(checks: readonly (() => T)[], boundMs: number): (T | undefined)[] {
  const results: T[] = [];
  // Where the time went to other processes, the same check gets more of it.
  for (let limitMs = boundMs; ; limitMs *= 2) {
    const beganAt = cpuMs();
    const isDone = runs(limitMs, () => {
      for (const check of checks) results.push(check());
    });
    if (isDone || results.length > 0) return results;
    if (cpuMs() - beganAt >= boundMs * MOSTLY) return [undefined];
  }
}

/** Whether it came to its end in time. */
function runs(boundMs: number, work: () => void): boolean {
  context.work = work;
  try {
    SCRIPT.runInContext(context, { timeout: boundMs });
    return true;
  } catch (error) {
    // Not an Error of this realm: it was made in the context's.
    if (typeof error === "object" && error !== null && Reflect.get(error, "code") === TIMED_OUT) return false;
    throw error;
  } finally {
    context.work = () => {};
  }
}

/** Of this thread, where Node tells that (23.9). */
const usage = Reflect.has(process, "threadCpuUsage") ? () => process.threadCpuUsage() : () => process.cpuUsage();

/** Of the processor, that this thread has taken. */
export function cpuMs(): number {
  const { user, system } = usage();
  return (user + system) / US_PER_MS;
}
