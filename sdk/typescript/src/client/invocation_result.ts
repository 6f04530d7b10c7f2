/** From an invocation to its value or its error. */

import {
  InvocationCancelledError,
  InvocationDoesNotExist,
  InvocationFailedError,
  InvocationTimedOutError,
  type MultinodeError,
  Unavailable,
} from "../errors.js";
import type { Invocation } from "../invocation.js";
import { isLatest } from "../protocol/names.js";
import type { InvocationCheck } from "./invocation_client.js";

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

/** Whether it is of the function that was asked for: watches are told of any invocation, while `get` is refused a wrong one. */
export function isWhatIsAskedFor(invocation: Invocation, check: InvocationCheck | undefined): boolean {
  if (check === undefined) return true;
  const { projectName, functionName, versionId } = checked(check);
  return (
    (projectName === "" || projectName === invocation.projectName) &&
    (functionName === "" || functionName === invocation.functionName) &&
    (versionId === "" || versionId === invocation.versionId)
  );
}

/** A check as requests have it. */
export function checked({ projectName, functionName, versionId }: InvocationCheck): InvocationCheck {
  return { projectName, functionName, versionId: isLatest(versionId) ? "" : versionId };
}

/** What the server says of one. */
export function invocationDoesNotExist(invocationId: string): InvocationDoesNotExist {
  return new InvocationDoesNotExist(`invocation "${invocationId}" does not exist`, { metadata: { invocationId } });
}

export function clientIsClosed(): Unavailable {
  return new Unavailable("the client is closed");
}
