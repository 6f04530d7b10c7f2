/** Secrets of API keys. 256 random bits need no slow hash. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { formatApiKey } from "./domain/api_key.js";
import type { ApiKeyRecord } from "./store.js";

/** A good key, and the text that its holder sends, which is kept nowhere. */
export function newApiKey(said: Omit<ApiKeyRecord, "secretHash" | "revokeTimeMs">) {
  const secret = randomBytes(32).toString("base64url");
  const key: ApiKeyRecord = { ...said, secretHash: hashSecret(secret), revokeTimeMs: undefined };
  return { key, token: formatApiKey({ keyId: said.keyId, secret }) };
}

function hashSecret(secret: string): Uint8Array {
  return createHash("sha256").update(secret).digest();
}

/** Takes the same time whether or not, and wherever, they differ. */
export function isSecretOf(hash: Uint8Array, secret: string): boolean {
  const given = hashSecret(secret);
  return given.length === hash.length && timingSafeEqual(given, hash);
}
