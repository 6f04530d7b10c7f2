/** From a finished invocation to its value or its error. */
import {
  InvocationCancelledError,
  InvocationFailedError,
  InvocationTimedOutError,
  type MultinodeError,
} from "./errors.js";
import type { Invocation } from "./invocation.js";

/** The error of a finished invocation; undefined where it succeeded. */
export function errorOf(invocation: Invocation): MultinodeError | undefined {
  const name = `${invocation.functionName} (${invocation.id})`;
  const reason = invocation.error === undefined ? "" : `: ${invocation.error}`;
  switch (invocation.status) {
    case "FAILED":
      return new InvocationFailedError(`${name} failed${reason}`, { invocation });
    case "CANCELLED":
      return new InvocationCancelledError(`${name} was cancelled`, { invocation });
    case "TIMED_OUT":
      return new InvocationTimedOutError(`${name} timed out${reason}`, { invocation });
    case "SUCCEEDED":
    case "PENDING":
    case "RUNNING":
    case "CANCELLING":
      return undefined;
  }
}

/** The result of a finished invocation. Throws the error of one that did not succeed. */
export function resultOf(invocation: Invocation): unknown {
  const error = errorOf(invocation);
  if (error !== undefined) throw error;
  return invocation.result;
}
