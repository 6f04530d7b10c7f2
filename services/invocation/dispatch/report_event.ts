/** A report of the wire as an event of the state machine, its values checked. */
import type { ExecutionEnded, ExecutionReport } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { Payload } from "../../../gen/multinode/type/v1/payload.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { decode } from "../../../sdk/typescript/src/values/codec.js";
import { cutText } from "../../../sdk/typescript/src/worker/error_text.js";
import { outputSizeError } from "../../platform/output_size.js";
import { violationsOf } from "../admission/schema_check.js";
import type { LifeEvent } from "../domain/transitions.js";
import type { KnownFunction } from "../functions.js";

type ThrowEvent = Extract<LifeEvent, { type: "throw" }>;

/** Undefined: the report says only that the worker is gone. */
export function toEvent(report: ExecutionReport, payloadBytes: number, known: KnownFunction): LifeEvent | undefined {
  switch (report.event?.$case) {
    case "started":
      return { type: "start", workerId: report.event.value.workerId };
    case "yielded": {
      const { index, value } = report.event.value;
      const tooLarge = outputSizeError(value, payloadBytes, "yielded value");
      if (tooLarge !== undefined) return failure(tooLarge, false);
      return { type: "yield", index, value: Payload.encode(value ?? Payload.fromPartial({})).finish() };
    }
    case "ended":
      return endEvent(report.event.value, payloadBytes, known);
    case "givenBack":
      return { type: "giveBack" };
    case "released":
    case undefined:
      return undefined;
  }
}

function endEvent(ended: ExecutionEnded, payloadBytes: number, known: KnownFunction): LifeEvent {
  const { interrupted, killed, result } = ended;
  if (result?.$case !== "returned") {
    const { error = "", nonRetryable = false } = result?.value ?? {};
    const told = cutError(error === "" ? "Error: (no message)" : error);
    return { type: "throw", error: told, interrupted, killed, nonRetryable };
  }
  const { value } = result.value;
  const wrong = outputSizeError(value, payloadBytes, "result") ?? schemaError(value, known);
  if (wrong !== undefined) return failure(wrong, interrupted);
  return { type: "return", value: value === undefined ? null : Payload.encode(value).finish(), interrupted };
}

function failure(error: string, interrupted: boolean): ThrowEvent {
  return { type: "throw", error: cutError(error), interrupted, killed: false };
}

function schemaError(value: Payload | undefined, known: KnownFunction): string | undefined {
  // No value: the last one yielded stays, or there is none. The worker has checked either.
  if (known.outputCheck === undefined || value === undefined) return undefined;
  let decoded: unknown;
  try {
    decoded = decode(value);
  } catch (error) {
    return `FunctionOutputIsInvalid: the result cannot be decoded: ${String(error)}`;
  }
  const valueBytes = value.data.byteLength;
  const violations = violationsOf({ check: known.outputCheck, value: decoded, valueBytes, name: "result" });
  if (violations.length === 0) return undefined;
  const list = violations.map(({ field, description }) => `${field} ${description}`).join("; ");
  return `FunctionOutputIsInvalid: the result does not match the output schema: ${list}`;
}

/** Not every database holds NUL, nor half of a surrogate pair. */
function cutError(error: string): string {
  return cutText(error.replaceAll("\0", "\uFFFD"), LIMITS.errorLength).toWellFormed();
}
