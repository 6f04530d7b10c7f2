/** From a gRPC status and its details (https://google.aip.dev/193) to the SDK's errors. */
import { Status as StatusCode } from "nice-grpc-common";
import { BadRequest, ErrorInfo, RetryInfo } from "../../../../gen/google/rpc/error_details.pb.js";
import { Status } from "../../../../gen/google/rpc/status.pb.js";
import { ERROR_CLASSES, MultinodeError, type Violation } from "../errors.js";
import { ERROR_DOMAIN, isReason, type Reason } from "../protocol/reasons.js";

/** The trailer that carries a serialized google.rpc.Status. */
export const STATUS_DETAILS_TRAILER = "grpc-status-details-bin";

/** What to throw for a status without an ErrorInfo of ours: one made by gRPC itself, or by a proxy. */
const REASON_BY_CODE: Readonly<Partial<Record<number, Reason>>> = {
  [StatusCode.INVALID_ARGUMENT]: "ParameterValidationError",
  [StatusCode.UNAUTHENTICATED]: "ApiKeyIsInvalid",
  [StatusCode.PERMISSION_DENIED]: "PermissionDenied",
  [StatusCode.RESOURCE_EXHAUSTED]: "ResourceExhausted",
  [StatusCode.UNAVAILABLE]: "Unavailable",
};

/** The error of a call. `details` are the bytes of the trailer, where there was one. */
export function errorFromCall(code: number, message: string, details: Uint8Array | undefined): MultinodeError {
  if (details !== undefined) {
    try {
      const status = Status.decode(details);
      return errorFromStatus({ ...status, code: status.code || code, message: status.message || message });
    } catch {
      // Damaged details say nothing; the code and the message still do.
    }
  }
  return errorFromStatus({ code, message, details: [] });
}

/** The error of a status, such as that of one item of a batch. */
export function errorFromStatus({ code, message, details }: Status): MultinodeError {
  let reason: Reason | undefined;
  let metadata: Readonly<Record<string, string>> = {};
  let violations: readonly Violation[] = [];
  let retryDelayMs: number | undefined;
  for (const detail of details) {
    switch (detail.typeUrl) {
      case "type.googleapis.com/google.rpc.ErrorInfo": {
        const info = ErrorInfo.decode(detail.value);
        if (info.domain !== ERROR_DOMAIN) break;
        metadata = info.metadata;
        if (isReason(info.reason)) reason = info.reason;
        break;
      }
      case "type.googleapis.com/google.rpc.BadRequest":
        violations = BadRequest.decode(detail.value).fieldViolations;
        break;
      case "type.googleapis.com/google.rpc.RetryInfo": {
        const delay = RetryInfo.decode(detail.value).retryDelay;
        if (delay !== undefined) retryDelayMs = delay.seconds * 1_000 + delay.nanos / 1_000_000;
        break;
      }
      default:
    }
  }
  reason ??= REASON_BY_CODE[code];
  const all = { metadata, violations, retryDelayMs, code };
  const text = message === "" ? `the call failed with ${codeName(code)}` : message;
  return reason === undefined ? new MultinodeError(codeName(code), text, all) : new ERROR_CLASSES[reason](text, all);
}

/** The same error as an object of its own, for another call that failed with it. */
export function copyOf(error: MultinodeError): MultinodeError {
  const { message, metadata, violations, retryDelayMs, code, cause, reason } = error;
  const details = { metadata, violations, retryDelayMs, code, cause };
  return isReason(reason) ? new ERROR_CLASSES[reason](message, details) : new MultinodeError(reason, message, details);
}

function codeName(code: number): string {
  return StatusCode[code] ?? `gRPC status ${code}`;
}
