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
 * Whether an error that nobody handles is an interruption, or was made of one, as Node's AbortError is; or says that a child was
 * cancelled, which it may be before its parent hears that it is. User code that waits for several things handles the first that
 * rejects, and has its grace period all the same.
 */
export function isOfInterruption(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return isInterruption(error) || isInterruption(error.cause);
}

function isInterruption(error: unknown): boolean {
  return error instanceof InvocationCancelledError || (error instanceof Error && interruptions.has(error));
}
