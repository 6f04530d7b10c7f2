/**
 * Tokens of workers: "mnw_", the characters of the worker's identifier, and 32 bytes that only schedulers with the same
 * secret can make, so that a worker can come back to any of them.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Authority } from "../../platform/rpc/principal.js";

const FORM = /^mnw_([0-9a-z]{26})_([A-Za-z0-9_-]{43})$/;

export class WorkerTokens {
  readonly #secret: Uint8Array;

  constructor(secret: Uint8Array) {
    this.#secret = secret;
  }

  issue(workerId: string): string {
    const name = `mnw_${workerId.slice(4)}`;
    return `${name}_${this.#sign(name)}`;
  }

  readonly authority: Authority = async (token) => {
    const [, id, signature] = FORM.exec(token) ?? [];
    if (id === undefined || signature === undefined) return undefined;
    if (!timingSafeEqual(Buffer.from(signature), Buffer.from(this.#sign(`mnw_${id}`)))) return undefined;
    return { kind: "worker", workerId: `wrk-${id}` };
  };

  #sign(name: string): string {
    return createHmac("sha256", this.#secret).update(name).digest("base64url");
  }
}
