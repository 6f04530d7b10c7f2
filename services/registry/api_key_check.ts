/** Says whether an API key is good. An unknown id and a wrong secret take the same way and have the same answer. */
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import type { Clock } from "../platform/clock.js";
import { isSecretOf } from "./api_key_secret.js";
import { parseApiKey } from "./domain/api_key.js";
import type { ApiKeyRecord, ApiKeyStore } from "./store.js";

const CACHED_KEYS = 10_000;
const NO_SECRET = new Uint8Array(32);

export class ApiKeyCheck {
  readonly #store: ApiKeyStore;
  readonly #clock: Clock;
  /** Only keys that exist, so that guesses cannot fill it. */
  readonly #cache = new Map<string, { readonly key: ApiKeyRecord; readonly loadedAtMs: number }>();

  constructor(store: ApiKeyStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Answers the key, if it is good. `fresh`: looks into the store, for callers that keep the answer themselves. */
  async verify(token: string, fresh: boolean): Promise<ApiKeyRecord | undefined> {
    const parts = parseApiKey(token);
    if (parts === undefined) return undefined;
    const key = await this.#find(parts.keyId, fresh);
    const isRight = isSecretOf(key?.secretHash ?? NO_SECRET, parts.secret);
    return isRight && key !== undefined && isGood(key, this.#clock.now()) ? key : undefined;
  }

  /** To be called when the key was revoked here; other processes notice within `apiKeyCacheMs`. */
  forget(keyId: string): void {
    this.#cache.delete(keyId);
  }

  async #find(keyId: string, fresh: boolean): Promise<ApiKeyRecord | undefined> {
    const nowMs = this.#clock.now();
    const cached = this.#cache.get(keyId);
    if (!fresh && cached !== undefined && Math.abs(nowMs - cached.loadedAtMs) < LIMITS.apiKeyCacheMs) return cached.key;
    const key = await this.#store.findApiKey(keyId);
    this.#cache.delete(keyId);
    if (key === undefined || key.revokeTimeMs !== undefined) return key;
    const [oldest] = this.#cache.keys();
    if (this.#cache.size >= CACHED_KEYS && oldest !== undefined) this.#cache.delete(oldest);
    this.#cache.set(keyId, { key, loadedAtMs: nowMs });
    return key;
  }
}

function isGood({ revokeTimeMs, expireTimeMs }: ApiKeyRecord, nowMs: number): boolean {
  return revokeTimeMs === undefined && (expireTimeMs === undefined || nowMs < expireTimeMs);
}
