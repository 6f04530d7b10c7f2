/**
 * Tokens of executions: "mnx_", the characters of the invocation's and the execution's identifiers, and 32 bytes that only
 * this service can make. Nothing of a token is stored. It is good while its execution is the current one.
 */
import { hash, timingSafeEqual } from "node:crypto";

const ID_LENGTH = 26;
const FORM = new RegExp(`^mnx_([0-9a-z]{${ID_LENGTH}})([0-9a-z]{${ID_LENGTH}})_([A-Za-z0-9_-]{43})$`);

export interface NamedExecution {
  readonly invocationId: string;
  readonly executionId: string;
}

export class ExecutionTokens {
  readonly #secret: string;

  constructor(secret: Uint8Array) {
    this.#secret = Buffer.from(secret).toString("hex");
  }

  issue(invocationId: string, executionId: string): string {
    const name = `mnx_${invocationId.slice(4)}${executionId.slice(4)}`;
    return `${name}_${this.#sign(name)}`;
  }

  /** Whom the token names, or undefined where it is no token of this service. */
  verify(token: string): NamedExecution | undefined {
    const match = FORM.exec(token);
    if (match === null) return undefined;
    const [, invocation = "", execution = "", signature = ""] = match;
    const expected = this.#sign(`mnx_${invocation}${execution}`);
    if (!timingSafeEqual(Buffer.from(signature), Buffer.from(expected))) return undefined;
    return { invocationId: `inv-${invocation}`, executionId: `exe-${execution}` };
  }

  #sign(name: string): string {
    // SHA-3, unlike SHA-2, is a message authentication code with the key put first; an HMAC takes twice as long, and one is
    // made for each execution.
    return hash("sha3-256", this.#secret + name, "base64url");
  }
}
