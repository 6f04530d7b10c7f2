import { InvocationCancelledError, InvocationTimedOutError } from "../errors.js";
import type { InterruptKind } from "./messages.js";

/** The error that an interruption is to user code. */
export function interruptionError(kind: InterruptKind): Error {
  return kind === "timedOut" ? new InvocationTimedOutError() : new InvocationCancelledError();
}
