/** How much of what is to be reported one message carries: pure. */
import { ExecutionReport } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { LogLine } from "../../../gen/multinode/invocation/v1/log_service.pb.js";
import type { Payload } from "../../../gen/multinode/type/v1/payload.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { outputSizeText } from "../../platform/output_size.js";

/** Content of one call, in bytes: what the invocation service takes of lines, and well below the largest message. */
const MOST_BYTES = 2 * 1024 * 1024;
/** What a report and a line take beside their content, in bytes, roughly. */
const ITEM_BYTES = 150;
/** A character takes up to so many. */
const CHARACTER_BYTES = 3;

/** Takes the first items, at least one, up to the bounds. */
export function takeBatch<T>(items: T[], mostItems: number, sizeOf: (item: T) => number): T[] {
  let count = 0;
  for (let bytes = 0; count < Math.min(items.length, mostItems); count++) {
    const item = items[count];
    if (item === undefined) break;
    bytes += sizeOf(item);
    if (bytes > MOST_BYTES && count > 0) break;
  }
  return items.splice(0, count);
}

export function reportBytes({ event }: ExecutionReport): number {
  switch (event?.$case) {
    case "yielded":
      return ITEM_BYTES + payloadBytes(event.value.value);
    case "ended": {
      const { result } = event.value;
      if (result?.$case === "returned") return ITEM_BYTES + payloadBytes(result.value.value);
      return ITEM_BYTES + CHARACTER_BYTES * (result?.value.error.length ?? 0);
    }
    case "started":
    case "released":
    case "givenBack":
    case undefined:
      return ITEM_BYTES;
  }
}

export function lineBytes({ text, level }: LogLine): number {
  return ITEM_BYTES + CHARACTER_BYTES * (text.length + level.length);
}

/** The end that is told in place of one that no message carries. Undefined: it is no end, or it is not its content. */
export function withoutContent(report: ExecutionReport): ExecutionReport | undefined {
  const { ref, event } = report;
  if (event?.$case !== "ended" || reportBytes(report) <= MOST_BYTES) return undefined;
  const error = outputSizeText("end", ExecutionReport.encode(report).finish().byteLength, LIMITS.messageBytes);
  return { ref, event: { $case: "ended", value: { ...event.value, result: { $case: "threw", value: { error } } } } };
}

function payloadBytes(payload: Payload | undefined): number {
  return (payload?.data.byteLength ?? 0) + CHARACTER_BYTES * (payload?.contentType.length ?? 0);
}
