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
  let limitMs = boundMs;
  while (results.length < checks.length) {
    const { length } = results;
    const isDone = runs(limitMs, () => {
      for (const check of checks.slice(results.length)) {
        beganAt = cpuMs();
        results.push(check());
      }
    });
    if (isDone) break;
    if (cpuMs() - beganAt >= boundMs) return [...results, undefined];
    // The time was over for all of them together; or it went to other processes, and the same one gets more of it.
    limitMs = results.length > length ? boundMs : 2 * limitMs;
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
const usage = Reflect.has(process, "threadCpuUsage") ? () => process.threadCpuUsage() : () => process.cpuUsage();

function cpuMs(): number {
  const { user, system } = usage();
  return (user + system) / US_PER_MS;
}
