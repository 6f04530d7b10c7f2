/** Stored invocations as messages of the contract. */
import { type Execution, type Invocation, Outcome } from "../../gen/multinode/invocation/v1/invocation.pb.js";
import { Payload } from "../../gen/multinode/type/v1/payload.pb.js";
import { OUTCOME_CODE, STATUS_CODE } from "./sql/codes.js";
import type { StoredExecution, StoredInvocation } from "./store.js";

/** `ended`: its executions that have ended. Where it is not given, the message has no executions at all. */
export function toInvocation(stored: StoredInvocation, ended?: readonly StoredExecution[]): Invocation {
  const executions = ended === undefined ? [] : toExecutions(stored, ended);
  return { ...toSummary(stored), result: toPayload(stored.life.result), executions };
}

/** Without result and executions. */
export function toSummary({ identity, life }: StoredInvocation): Invocation {
  return {
    invocationId: identity.id,
    projectName: identity.projectName,
    versionId: identity.versionId,
    functionName: identity.functionName,
    parentInvocationId: identity.parentId ?? "",
    status: STATUS_CODE[life.status],
    revision: life.revision,
    result: undefined,
    error: life.error,
    terminated: life.terminated,
    numFailedAttempts: life.failedAttempts,
    createTimeMs: identity.createdAt,
    startTimeMs: life.startedAt ?? undefined,
    finishTimeMs: life.finishedAt ?? undefined,
    cancelRequestTimeMs: life.cancelRequestedAt ?? undefined,
    expireTimeMs: identity.expiresAt ?? undefined,
    executions: [],
  };
}

function toPayload(encoded: Uint8Array | null): Payload | undefined {
  return encoded === null ? undefined : Payload.decode(encoded);
}

function toExecutions({ life }: StoredInvocation, ended: readonly StoredExecution[]): Execution[] {
  const executions: Execution[] = ended.map((execution) => ({
    executionId: execution.id,
    attemptNumber: execution.attemptNumber,
    outcome: OUTCOME_CODE[execution.outcome],
    error: execution.error,
    terminated: !execution.held,
    createTimeMs: execution.createdAt,
    startTimeMs: execution.startedAt ?? undefined,
    finishTimeMs: execution.finishedAt,
    workerId: execution.workerId,
  }));
  const { current } = life;
  if (current !== null) {
    executions.push({
      executionId: current.id,
      attemptNumber: life.attempts,
      outcome: Outcome.UNSPECIFIED,
      error: "",
      terminated: false,
      createTimeMs: current.createdAt,
      startTimeMs: current.startedAt ?? undefined,
      finishTimeMs: undefined,
      workerId: current.workerId,
    });
  }
  return executions;
}
