/** Which invocations a caller may see and touch. */
import { permissionDenied, Refusal } from "../platform/errors.js";
import { isProjectOf } from "../platform/rpc/access.js";
import type { Principal } from "../platform/rpc/principal.js";
import type { OneInvocation } from "./requests.js";
import type { StoredInvocation } from "./store.js";

export function invocationDoesNotExist(invocationId: string): Refusal {
  return new Refusal("InvocationDoesNotExist", `invocation "${invocationId}" does not exist`, {
    metadata: { invocationId },
  });
}

/** Inside a function only the children of its own invocation exist, and for a key of one project only what is in that. */
export function maySee(principal: Principal, { identity }: StoredInvocation): boolean {
  if (principal.kind === "execution") return identity.parentId === principal.invocationId;
  return isProjectOf(principal, identity.projectName);
}

/** The invocation that a request names, if it exists, is what the request says, and is the caller's to see. */
export function requested(
  stored: StoredInvocation | undefined,
  request: OneInvocation,
  principal: Principal,
): StoredInvocation {
  const { invocationId, projectName, functionName, versionId } = request;
  if (
    stored === undefined ||
    !maySee(principal, stored) ||
    (projectName !== "" && stored.identity.projectName !== projectName) ||
    (functionName !== "" && stored.identity.functionName !== functionName) ||
    (versionId !== "" && stored.identity.versionId !== versionId)
  ) {
    throw invocationDoesNotExist(invocationId);
  }
  return stored;
}

/** Some calls are for API keys only. */
export function requireKey(principal: Principal): void {
  if (principal.kind === "execution")
    throw permissionDenied("the token of an execution may not do this: use an API key");
}
