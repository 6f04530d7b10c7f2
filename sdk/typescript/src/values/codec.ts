/**
 * Values to bytes and back.
 *
 * A payload is JSON wherever plain JSON carries the value exactly, so that any language can read and write it. Everything
 * else is CBOR (RFC 8949) with registered tags; `codec_cbor.ts` lists them. This file and that one import no gRPC: the
 * services read payloads with them too.
 */
import { types } from "node:util";
import { LIMITS } from "../protocol/limits.js";
import { CBOR_CONTENT_TYPE, JSON_CONTENT_TYPE } from "../protocol/names.js";
import { decodeCbor, encodeCbor } from "./codec_cbor.js";
import { PayloadIsInvalidError, PayloadSizeLimitExceeded } from "./codec_errors.js";
import { hollowness } from "./codec_hollow.js";
import type { EncodedArguments, EncodedPayload, TextPayload } from "./payload.js";

export { PayloadIsInvalidError, PayloadSizeLimitExceeded, ValueIsUnsupportedError } from "./codec_errors.js";
export type { EncodedArguments, EncodedPayload, TextPayload } from "./payload.js";

/** One encoded value in the type of bytes that the generated messages ask for. */
export interface WirePayload extends EncodedPayload {
  readonly data: Buffer;
}

/** Encodes any supported value. Throws ValueIsUnsupportedError. */
export function encode(value: unknown): WirePayload {
  const { contentType, data } = encodeText(value);
  return { contentType, data: typeof data === "string" ? Buffer.from(data) : data };
}

/** The same, with JSON as text. */
export function encodeText(value: unknown): { contentType: string; data: Buffer | string } {
  if (isPlainJson(value, "", 0)) return { contentType: JSON_CONTENT_TYPE, data: JSON.stringify(value) };
  return { contentType: CBOR_CONTENT_TYPE, data: encodeCbor(value) };
}

/** Decodes what `encode` wrote, here or in another language. Throws PayloadIsInvalidError. */
export function decode(payload: TextPayload): unknown {
  switch (payload.contentType) {
    case "":
    case JSON_CONTENT_TYPE:
      return decodeJson(payload.data);
    case CBOR_CONTENT_TYPE:
      try {
        return decodeCbor(typeof payload.data === "string" ? Buffer.from(payload.data) : payload.data);
      } catch (error) {
        throw new PayloadIsInvalidError(`the payload is not CBOR that can be read: ${messageOf(error)}`, {
          cause: error,
        });
      }
    default:
      throw new PayloadIsInvalidError(`the content type "${payload.contentType}" is not known`);
  }
}

/** Encodes what a function is called with. Nothing is written for no arguments. */
export function encodeArguments(
  positional: readonly unknown[],
  named?: Readonly<Record<string, unknown>>,
): EncodedArguments<WirePayload> {
  return {
    positional: positional.length === 0 ? undefined : encode(positional),
    named: named === undefined || Object.keys(named).length === 0 ? undefined : encode(named),
  };
}

/** The positional arguments, and the named ones, or undefined where there are none. Throws PayloadIsInvalidError. */
export function decodeArguments(encoded: EncodedArguments<TextPayload> | undefined): {
  positional: unknown[];
  named: Record<string, unknown> | undefined;
} {
  const positional = encoded?.positional === undefined ? [] : decode(encoded.positional);
  if (!Array.isArray(positional)) throw new PayloadIsInvalidError("the positional arguments must be a list");
  const named = encoded?.named === undefined ? undefined : decode(encoded.named);
  if (named !== undefined && !isRecord(named)) throw new PayloadIsInvalidError("the named arguments must be an object");
  return { positional, named };
}

/** Size in bytes of one payload, or of all arguments together. */
export function payloadSizeBytes(encoded: TextPayload | EncodedArguments | undefined): number {
  if (encoded === undefined) return 0;
  if ("data" in encoded) return Buffer.byteLength(encoded.data);
  return (encoded.positional?.data.byteLength ?? 0) + (encoded.named?.data.byteLength ?? 0);
}

/** Refuses a payload above the limit, in bytes. `what` begins the message, such as "the result". */
export function checkPayloadSize(
  encoded: TextPayload | EncodedArguments | undefined,
  what: string,
  limitBytes: number,
): void {
  const sizeBytes = payloadSizeBytes(encoded);
  if (sizeBytes > limitBytes) throw new PayloadSizeLimitExceeded(what, sizeBytes, limitBytes);
}

/** Whether JSON carries the value exactly. Cycles are too deep, so they are left to the slower walk, which names them. */
function isPlainJson(value: unknown, key: string, depth: number): boolean {
  if (typeof value === "number") return Number.isFinite(value) && !Object.is(value, -0);
  if (typeof value === "string" || typeof value === "boolean" || value === null) return true;
  if (typeof value !== "object") return false;
  if (depth >= LIMITS.valueDepth) return false;
  if ("toJSON" in value && typeof value.toJSON === "function") {
    if (types.isDate(value) || ArrayBuffer.isView(value)) return false;
    return isPlainJson(value.toJSON(key), key, depth + 1);
  }
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      if (!isPlainJson(value[index], "", depth + 1)) return false;
    }
    return true;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null && isBuiltIn(value)) return false;
  const names = Object.keys(value);
  if (names.length === 0 && hollowness(value) !== undefined) return false;
  for (const name of names) {
    if (!isPlainJson((value as Record<string, unknown>)[name], name, depth + 1)) return false;
  }
  return true;
}

/** Whether JSON would write this object as less than it is. A class of the user's own is written as its properties. */
function isBuiltIn(value: object): boolean {
  return (
    types.isMap(value) ||
    types.isSet(value) ||
    ArrayBuffer.isView(value) ||
    types.isAnyArrayBuffer(value) ||
    types.isNativeError(value) ||
    types.isRegExp(value) ||
    types.isPromise(value) ||
    types.isWeakMap(value) ||
    types.isWeakSet(value) ||
    types.isBoxedPrimitive(value) ||
    value instanceof WeakRef ||
    value instanceof Error
  );
}

function decodeJson(data: Uint8Array | string): unknown {
  const text = typeof data === "string" ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString();
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new PayloadIsInvalidError(`the payload is not JSON: ${messageOf(error)}`, { cause: error });
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
