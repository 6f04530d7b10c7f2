import { InvocationCancelledError, InvocationTimedOutError } from "../errors.js";
import type { InterruptKind } from "./messages.js";

/** All that were made here, also of executions that have ended. */
const interruptions = new WeakSet<object>();

/** The error that an interruption is to user code. */
export function interruptionError(kind: InterruptKind): Error {
  const error = kind === "timedOut" ? new InvocationTimedOutError() : new InvocationCancelledError();
  interruptions.add(error);
  return error;
}

/**
 * Whether an error that nobody handles is an interruption, or was made of one, as Node's AbortError is. User code that waits for
 * several things handles the first that rejects, and has its grace period all the same.
 */
export function isOfInterruption(error: unknown): boolean {
  if (typeof error !== "object" || error === null) return false;
  const { cause } = error as { cause?: unknown };
  return interruptions.has(error) || (typeof cause === "object" && cause !== null && interruptions.has(cause));
}
