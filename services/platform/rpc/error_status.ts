/** Refusals as gRPC statuses: `google.rpc.Status` with ErrorInfo, BadRequest and RetryInfo (AIP-193). */
import { type Metadata, ServerError, Status } from "nice-grpc";
import { BadRequest, ErrorInfo, RetryInfo } from "../../../gen/google/rpc/error_details.pb.js";
import { Status as RpcStatus } from "../../../gen/google/rpc/status.pb.js";
import { ERROR_DOMAIN, REASON_STATUS } from "../../../sdk/typescript/src/protocol/reasons.js";
import type { Refusal } from "../errors.js";

const TYPE_URL = "type.googleapis.com/google.rpc.";
/** Longest message: HTTP/2 trailers are small. */
const MESSAGE_LENGTH = 2_000;
const VIOLATIONS = 50;

export function toRpcStatus(refusal: Refusal): RpcStatus {
  const { metadata, violations, retryAfterMs } = refusal.details;
  const details = [
    {
      typeUrl: `${TYPE_URL}ErrorInfo`,
      value: ErrorInfo.encode({ reason: refusal.reason, domain: ERROR_DOMAIN, metadata: { ...metadata } }).finish(),
    },
  ];
  if (violations !== undefined) {
    const fieldViolations = violations.slice(0, VIOLATIONS).map(({ field, description }) => ({ field, description }));
    details.push({ typeUrl: `${TYPE_URL}BadRequest`, value: BadRequest.encode({ fieldViolations }).finish() });
  }
  if (retryAfterMs !== undefined) {
    const retryDelay = { seconds: Math.floor(retryAfterMs / 1000), nanos: (retryAfterMs % 1000) * 1_000_000 };
    details.push({ typeUrl: `${TYPE_URL}RetryInfo`, value: RetryInfo.encode({ retryDelay }).finish() });
  }
  return { code: REASON_STATUS[refusal.reason], message: cut(refusal.message), details };
}

/** Puts the details into the call's trailer and answers the error to throw. */
export function toServerError(refusal: Refusal, trailer: Metadata): ServerError {
  const status = toRpcStatus(refusal);
  trailer.set("grpc-status-details-bin", RpcStatus.encode(status).finish());
  return new ServerError(status.code, status.message);
}

export function internalError(id: string): ServerError {
  return new ServerError(Status.INTERNAL, `internal error ${id}: the server's log says more under this id`);
}

function cut(message: string): string {
  return message.length <= MESSAGE_LENGTH ? message : `${message.slice(0, MESSAGE_LENGTH)}…`;
}
