/**
 * What workers say, within bounds: pure. Our worker keeps them by itself, but a project's image may hold another program.
 * What goes on to the invocation service is of a size that a message can carry, whatever came.
 */
import type { ExecutionEnded } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { LogLine } from "../../../gen/multinode/invocation/v1/log_service.pb.js";
import type { Payload } from "../../../gen/multinode/type/v1/payload.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { cutText } from "../../../sdk/typescript/src/worker/error_text.js";
import { outputSizeError } from "../../platform/output_size.js";

type Result = ExecutionEnded["result"];

/** Longer than those that mean something. */
const CONTENT_TYPE_LENGTH = 100;
const LEVEL_LENGTH = 10;
/** What a line of log takes beside its text, in bytes, roughly. */
const LINE_BYTES = 150;
/** The log of one execution: what its worker sends, and as much that is printed beside that. */
const LOG_BYTES = 2 * (LIMITS.logBytesPerExecution + LINE_BYTES * LIMITS.logLinesPerExecution);

/** A result that is too large is the error that the invocation service would make of it. */
export function boundedResult(result: Result, payloadBytes: number): NonNullable<Result> {
  if (result === undefined) return threw("Error: the worker said no result");
  if (result.$case === "threw") {
    const { error, nonRetryable } = result.value;
    return { $case: "threw", value: { error: cutText(error, LIMITS.errorLength), nonRetryable } };
  }
  const { value } = result.value;
  const error = outputSizeError(value, payloadBytes, "result");
  return error === undefined ? { $case: "returned", value: { value: boundedPayload(value) } } : threw(error);
}

export function boundedPayload(payload: Payload | undefined): Payload | undefined {
  if (payload === undefined || payload.contentType.length <= CONTENT_TYPE_LENGTH) return payload;
  return { ...payload, contentType: payload.contentType.slice(0, CONTENT_TYPE_LENGTH) };
}

/** The next line of a log that has this size, and what size it has then. No line: the log is full. */
export function boundedLine(logBytes: number, line: LogLine): { logBytes: number; line: LogLine | undefined } {
  const bytes = logBytes + LINE_BYTES + line.text.length;
  if (bytes > LOG_BYTES) return { logBytes: bytes, line: undefined };
  const level = line.level.length > LEVEL_LENGTH ? "" : line.level;
  return { logBytes: bytes, line: { ...line, text: line.text.slice(0, LIMITS.logLineLength), level } };
}

function threw(error: string): NonNullable<Result> {
  return { $case: "threw", value: { error } };
}
