/** What makes two starts the same. */
import { createHash } from "node:crypto";
import { Arguments, type Payload } from "../../../gen/multinode/type/v1/payload.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { JSON_CONTENT_TYPE } from "../../../sdk/typescript/src/protocol/names.js";
import { Refusal } from "../../platform/errors.js";
import { show } from "../../platform/rpc/validation.js";
import type { StartCommand } from "../requests.js";
import type { FirstStart } from "../store.js";

/** Longer than an empty list in JSON that somebody laid out in lines. */
const EMPTY_BYTES = 16;
const CBOR_EMPTY_LIST = 0x80;

/** Of everything but the version: a repeated start means the one that was newest when it was first made. */
export function bodyHashOf(projectId: string, command: StartCommand): Buffer {
  const { functionName, parentId } = command;
  return createHash("sha256")
    .update(JSON.stringify([projectId, functionName, parentId]))
    .update(comparedArguments(command))
    .digest();
}

/**
 * Arguments are compared by their bytes: two clients may write one value in two ways. But what the contract says is the same
 * is the same: no content type is JSON, and an empty list is no arguments. What the SDK sends is compared as it is.
 */
function comparedArguments({ arguments: { positional, named }, encodedArguments }: StartCommand): Uint8Array {
  const compared = { positional: isEmptyList(positional) ? undefined : withType(positional), named: withType(named) };
  const isAsSent = compared.positional === positional && compared.named === named;
  return isAsSent ? encodedArguments : Arguments.encode(compared).finish();
}

function withType(payload: Payload | undefined): Payload | undefined {
  return payload?.contentType === "" ? { ...payload, contentType: JSON_CONTENT_TYPE } : payload;
}

function isEmptyList(payload: Payload | undefined): boolean {
  if (payload === undefined || payload.data.byteLength > EMPTY_BYTES) return false;
  if (payload.contentType !== "" && payload.contentType !== JSON_CONTENT_TYPE) {
    return payload.data.byteLength === 1 && payload.data[0] === CBOR_EMPTY_LIST;
  }
  return /^\s*\[\s*\]\s*$/.test(payload.data.toString());
}

/** The id that the first start with this key was answered, or why this one is none; undefined where it is the first. */
export function repeatedStart(
  first: FirstStart | undefined,
  { key, bodyHash }: { readonly key: string; readonly bodyHash: Uint8Array },
  now: number,
): string | Refusal | undefined {
  if (first === undefined || isForgotten(first, now)) return undefined;
  if (Buffer.compare(first.bodyHash, bodyHash) === 0) return first.id;
  const difference = "another function, other arguments or another parent";
  const message = `the idempotency key ${show(key)} was used with ${difference}, for ${first.id}`;
  return new Refusal("IdempotencyKeyReused", message, { metadata: { idempotencyKey: key, invocationId: first.id } });
}

export function isForgotten({ createdAt }: FirstStart, now: number): boolean {
  return createdAt + LIMITS.idempotencyWindowMs <= now;
}
