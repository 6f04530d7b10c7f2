/** Between the messages on the wire and the SDK's own types. */
import {
  Outcome,
  Status,
  type Invocation as WireInvocation,
} from "../../../../gen/multinode/invocation/v1/invocation.pb.js";
import type {
  ListInvocationsRequest,
  StartInvocationRequest,
} from "../../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import type { Execution, ExecutionOutcome, Invocation, InvocationStatus } from "../invocation.js";
import { decode, type EncodedArguments, type WirePayload } from "../values/codec.js";
import type { ListRequest, StartRequest } from "./invocation_client.js";

const STATUS_NAMES: Readonly<Record<Status, InvocationStatus>> = {
  [Status.UNSPECIFIED]: "PENDING",
  [Status.PENDING]: "PENDING",
  [Status.RUNNING]: "RUNNING",
  [Status.CANCELLING]: "CANCELLING",
  [Status.SUCCEEDED]: "SUCCEEDED",
  [Status.FAILED]: "FAILED",
  [Status.CANCELLED]: "CANCELLED",
  [Status.TIMED_OUT]: "TIMED_OUT",
  // A status of a newer server counts as not finished.
  [Status.UNRECOGNIZED]: "RUNNING",
};

const OUTCOME_NAMES: Readonly<Record<Outcome, ExecutionOutcome | undefined>> = {
  [Outcome.UNSPECIFIED]: undefined,
  [Outcome.SUCCEEDED]: "SUCCEEDED",
  [Outcome.FAILED]: "FAILED",
  [Outcome.ABORTED]: "ABORTED",
  [Outcome.UNRECOGNIZED]: undefined,
};

/** Throws PayloadIsInvalidError where the result cannot be decoded. */
export function invocationFromWire(wire: WireInvocation): Invocation {
  return {
    id: wire.invocationId,
    projectName: wire.projectName,
    versionId: wire.versionId,
    functionName: wire.functionName,
    parentInvocationId: wire.parentInvocationId || undefined,
    status: STATUS_NAMES[wire.status] ?? "RUNNING",
    result: wire.result === undefined ? undefined : decode(wire.result),
    error: wire.error || undefined,
    terminated: wire.terminated,
    numFailedAttempts: wire.numFailedAttempts,
    createdAt: new Date(wire.createTimeMs),
    startedAt: dateFromMs(wire.startTimeMs),
    finishedAt: dateFromMs(wire.finishTimeMs),
    cancelRequestedAt: dateFromMs(wire.cancelRequestTimeMs),
    expiresAt: dateFromMs(wire.expireTimeMs),
    revision: wire.revision,
    executions: wire.executions.map(
      (execution): Execution => ({
        id: execution.executionId,
        attemptNumber: execution.attemptNumber,
        outcome: OUTCOME_NAMES[execution.outcome],
        error: execution.error || undefined,
        terminated: execution.terminated,
        createdAt: new Date(execution.createTimeMs),
        startedAt: dateFromMs(execution.startTimeMs),
        finishedAt: dateFromMs(execution.finishTimeMs),
        workerId: execution.workerId || undefined,
      }),
    ),
  };
}

export function startRequestToWire(request: StartRequest): StartInvocationRequest {
  // What the codec makes; that it is a Buffer is no matter of the public types.
  const { positional, named } = request.arguments as EncodedArguments<WirePayload>;
  return {
    projectName: request.projectName,
    versionId: request.versionId,
    functionName: request.functionName,
    arguments: { positional, named },
    parentInvocationId: "",
    idempotencyKey: request.idempotencyKey,
    ttlMs: request.ttlMs,
  };
}

export function listRequestToWire(request: ListRequest): ListInvocationsRequest {
  return { ...request, statuses: request.statuses.map((status) => Status[status]) };
}

function dateFromMs(ms: number | undefined): Date | undefined {
  return ms === undefined ? undefined : new Date(ms);
}
