/** The error of a function whose result, or a value that it yielded, is too large. */
import type { Payload } from "../../gen/multinode/type/v1/payload.pb.js";

/** Undefined: it is not. */
export function outputSizeError(value: Payload | undefined, limit: number, what: string): string | undefined {
  const size = value?.data.byteLength ?? 0;
  return size <= limit ? undefined : outputSizeText(what, size, limit);
}

export function outputSizeText(what: string, size: number, limit: number): string {
  return `PayloadSizeLimitExceeded: the ${what} has ${size} bytes, more than the limit of ${limit}`;
}
