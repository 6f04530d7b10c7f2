/** What makes two starts the same. */
import { createHash } from "node:crypto";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { Refusal } from "../../platform/errors.js";
import { show } from "../../platform/rpc/validation.js";
import type { StartCommand } from "../requests.js";
import type { FirstStart } from "../store.js";

/** Of everything but the version: a repeated start means the one that was newest when it was first made. */
export function bodyHashOf(projectId: string, { functionName, parentId, encodedArguments }: StartCommand): Buffer {
  return createHash("sha256")
    .update(JSON.stringify([projectId, functionName, parentId]))
    .update(encodedArguments)
    .digest();
}

/** The id that the first start with this key was answered, or why this one is none; undefined where it is the first. */
export function repeatedStart(
  first: FirstStart | undefined,
  { key, bodyHash }: { readonly key: string; readonly bodyHash: Uint8Array },
  now: number,
): string | Refusal | undefined {
  if (first === undefined || isForgotten(first, now)) return undefined;
  if (Buffer.compare(first.bodyHash, bodyHash) === 0) return first.id;
  const message = `the idempotency key ${show(key)} was used with other arguments, for ${first.id}`;
  return new Refusal("IdempotencyKeyReused", message, { metadata: { idempotencyKey: key, invocationId: first.id } });
}

export function isForgotten({ createdAt }: FirstStart, now: number): boolean {
  return createdAt + LIMITS.idempotencyWindowMs <= now;
}
