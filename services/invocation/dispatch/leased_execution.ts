/** An execution as it is handed to a scheduler. */
import type { LeasedExecution } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { FunctionSpec } from "../../../gen/multinode/registry/v1/function.pb.js";
import type { Arguments } from "../../../gen/multinode/type/v1/payload.pb.js";
import type { ExecutionTokens } from "../execution_token.js";
import type { KnownFunction } from "../functions.js";
import type { StoredInvocation } from "../store.js";

/** What an execution takes beside its function and its arguments, roughly. */
const EXECUTION_BYTES = 300;

/** Encoded size of what is leased, roughly, for `LIMITS.leaseBytes`. */
export function leasedBytes({ encodedSpec }: KnownFunction, inputBytes: number): number {
  return EXECUTION_BYTES + encodedSpec.byteLength + inputBytes;
}

export function leasedExecution(
  tokens: ExecutionTokens,
  { identity, life }: StoredInvocation,
  spec: FunctionSpec,
  args: Arguments | undefined,
  now: number,
): LeasedExecution {
  const { current } = life;
  if (current === null) throw new Error(`${identity.id} has no execution`);
  const expiresAt = life.startedAt === null ? identity.expiresAt : null;
  return {
    ref: { executionId: current.id, epoch: current.epoch, invocationId: identity.id },
    attemptNumber: life.attempts,
    projectId: identity.projectId,
    projectName: identity.projectName,
    versionId: identity.versionId,
    function: spec,
    arguments: args,
    parentInvocationId: identity.parentId ?? "",
    executionToken: tokens.issue(identity.id, current.id),
    beginWithinMs: expiresAt === null ? undefined : Math.max(0, expiresAt - now),
  };
}
