/**
 * Checks by what strangers wrote, such as the patterns of a JSON Schema, which may take for ever: each ends when it has taken
 * too much of the processor. V8 ends a match of a pattern, too.
 */
import { createContext, Script } from "node:vm";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";

const TIMED_OUT = "ERR_SCRIPT_EXECUTION_TIMEOUT";
const US_PER_MS = 1_000;

const context: { work: () => void } = { work: () => {} };
const SCRIPT = new Script("work()");
createContext(context);

/**
 * Answers the results in the order of the checks, up to the first that took too long, which is undefined: who goes on with the
 * rest lets others have the processor before. All of them share what a bound costs, which is 0.2 ms.
 */
export function boundedChecks<T>(
  checks: readonly (() => T)[],
  boundMs: number = LIMITS.schemaCheckMs,
): (T | undefined)[] {
  const results: T[] = [];
  let beganAt = 0;
  const isOver = () => cpuMs() - beganAt >= boundMs;
  while (results.length < checks.length) {
    const isDone = runs(boundMs, () => {
      for (const check of checks.slice(results.length)) {
        beganAt = cpuMs();
        results.push(check());
      }
    });
    // The time was over for all of them together, or for a process that stood still: it goes on with the same one.
    if (!isDone && isOver()) return [...results, undefined];
  }
  return results;
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
function cpuMs(): number {
  const { user, system } = (process.threadCpuUsage ?? process.cpuUsage)();
  return (user + system) / US_PER_MS;
}
