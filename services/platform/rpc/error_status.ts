/** Refusals as gRPC statuses: `google.rpc.Status` with ErrorInfo, BadRequest and RetryInfo (AIP-193). */
import { Metadata as GrpcMetadata, type ServerInterceptor } from "@grpc/grpc-js";
import { type Metadata, ServerError, Status } from "nice-grpc";
import { BadRequest, ErrorInfo, RetryInfo } from "../../../gen/google/rpc/error_details.pb.js";
import { Status as RpcStatus } from "../../../gen/google/rpc/status.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { ERROR_DOMAIN, REASON_STATUS } from "../../../sdk/typescript/src/protocol/reasons.js";
import { badRequest, type FieldViolation, limitIsExceeded, type Refusal } from "../errors.js";

type PartialStatusObject = Parameters<Parameters<ServerInterceptor>[1]["sendStatus"]>[0];

const DETAILS = "grpc-status-details-bin";
const TYPE_URL = "type.googleapis.com/google.rpc.";
/**
 * Bytes of a message and of the list of bad fields. A status travels in the trailers, which clients refuse, with the whole
 * call, where they are too large: some above 8 KiB. The message is in them twice, once with a percent encoding.
 */
const MESSAGE_BYTES = 2_000;
const VIOLATIONS_BYTES = 2_500;
const FIELD_BYTES = 200;
const DESCRIPTION_BYTES = 400;
const METADATA_BYTES = 500;
/** When to try again where there is too much, and nothing else is known. */
const RETRY_AFTER_MS = 1_000;

export function toRpcStatus(refusal: Refusal): RpcStatus {
  const { violations, retryAfterMs = refusal.reason === "ResourceExhausted" ? RETRY_AFTER_MS : "never" } =
    refusal.details;
  const values = Object.entries(refusal.details.metadata ?? {});
  const metadata = Object.fromEntries(values.map(([name, value]) => [name, cut(value, METADATA_BYTES)]));
  const details = [
    {
      typeUrl: `${TYPE_URL}ErrorInfo`,
      value: ErrorInfo.encode({ reason: refusal.reason, domain: ERROR_DOMAIN, metadata }).finish(),
    },
  ];
  if (violations !== undefined) {
    const fieldViolations = firstOf(violations);
    details.push({ typeUrl: `${TYPE_URL}BadRequest`, value: BadRequest.encode({ fieldViolations }).finish() });
  }
  if (retryAfterMs !== "never") {
    const retryDelay = { seconds: Math.floor(retryAfterMs / 1000), nanos: (retryAfterMs % 1000) * 1_000_000 };
    details.push({ typeUrl: `${TYPE_URL}RetryInfo`, value: RetryInfo.encode({ retryDelay }).finish() });
  }
  return { code: REASON_STATUS[refusal.reason], message: cut(refusal.message, MESSAGE_BYTES), details };
}

/** Puts the details into the call's trailer and answers the error to throw. */
export function toServerError(refusal: Refusal, trailer: Metadata): ServerError {
  const status = toRpcStatus(refusal);
  trailer.set(DETAILS, RpcStatus.encode(status).finish());
  return new ServerError(status.code, status.message);
}

/** What the library below nice-grpc refuses by itself, as all other refusals are. */
export function likeRefusals(status: PartialStatusObject): PartialStatusObject {
  const { code, details, metadata } = status;
  if (code === undefined || code === Status.OK || (metadata && metadata.get(DETAILS).length > 0)) return status;
  if (code === Status.RESOURCE_EXHAUSTED) {
    return toStatusObject(limitIsExceeded(details, LIMITS.messageBytes));
  }
  const isBad = code === Status.INTERNAL && /^(Failed to decompress|Invalid grpc-timeout)/.test(details);
  return isBad ? toStatusObject(badRequest([{ field: "request", description: details }])) : status;
}

/** The same for the library below nice-grpc. */
export function toStatusObject(refusal: Refusal): { code: number; details: string; metadata: GrpcMetadata } {
  const status = toRpcStatus(refusal);
  const metadata = new GrpcMetadata();
  metadata.set(DETAILS, Buffer.from(RpcStatus.encode(status).finish()));
  return { code: status.code, details: status.message, metadata };
}

export function internalError(id: string): ServerError {
  return new ServerError(Status.INTERNAL, `internal error ${id}: the server's log says more under this id`);
}

/** As many as there is room for. */
function firstOf(violations: readonly FieldViolation[]): FieldViolation[] {
  const first: FieldViolation[] = [];
  let left = VIOLATIONS_BYTES;
  for (const violation of violations) {
    const field = cut(violation.field, FIELD_BYTES);
    const description = cut(violation.description, DESCRIPTION_BYTES);
    left -= encodedBytes(field) + encodedBytes(description);
    if (left < 0) break;
    first.push({ field, description });
  }
  return first;
}

function cut(text: string, bytes: number): string {
  if (3 * 3 * text.length <= bytes || encodedBytes(text.slice(0, bytes + 1)) <= bytes) return text;
  let kept = "";
  let left = bytes;
  for (const character of text) {
    left -= encodedBytes(character);
    if (left < 0) break;
    kept += character;
  }
  return `${kept}…`;
}

/** Bytes in the percent encoding of gRPC. */
function encodedBytes(text: string): number {
  let bytes = 0;
  for (const byte of Buffer.from(text)) bytes += byte >= 0x20 && byte <= 0x7e && byte !== 0x25 ? 1 : 3;
  return bytes;
}
