/**
 * Values of environment variables as the database has them, and a dump of it: sealed with the registry's secret, which lies
 * elsewhere. AES-256-GCM, bound to the version and the name, so that one cannot be put in another's place.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from "node:crypto";
import type { Code } from "../../gen/multinode/registry/v1/function.pb.js";

const CIPHER = "aes-256-gcm";
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** Before what is sealed. Values without it were stored before values were sealed. */
const MARK = "sealed:";

export class EnvironmentSeal {
  readonly #key: Uint8Array;
  readonly #digestKey: Uint8Array;

  /** @param secret the same in every process of the registry, and after a restart */
  constructor(secret: Uint8Array) {
    this.#key = derived(secret, "environment values");
    this.#digestKey = derived(secret, "request digests");
  }

  /** The same code, its values sealed for this version. */
  close(versionId: string, code: Code): Code {
    return mapped(code, (name, value) => MARK + this.#seal(`${versionId}|${name}`, value).toString("base64"));
  }

  /** @throws Error where values were sealed with another secret, or for another version. */
  open(versionId: string, code: Code): Code {
    return mapped(code, (name, value) => {
      if (!value.startsWith(MARK)) return value;
      return this.#unseal(`${versionId}|${name}`, Buffer.from(value.slice(MARK.length), "base64"));
    });
  }

  /** Of what a request holds, without a hint at its values to who has not the secret. */
  digest(content: string): string {
    return createHmac("sha256", this.#digestKey).update(content).digest("hex");
  }

  #seal(place: string, value: string): Buffer {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_BYTES }).setAAD(Buffer.from(place));
    return Buffer.concat([nonce, cipher.update(value, "utf8"), cipher.final(), cipher.getAuthTag()]);
  }

  #unseal(place: string, sealed: Buffer): string {
    const [nonce, tag] = [sealed.subarray(0, NONCE_BYTES), sealed.subarray(-TAG_BYTES)];
    try {
      const decipher = createDecipheriv(CIPHER, this.#key, nonce, { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(place)).setAuthTag(tag);
      return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]).toString();
    } catch (error) {
      const problem = `the variable ${place.replace("|", "'s ")} was sealed with another secret`;
      throw new Error(`${problem}: the registry needs the folder that it was made with`, { cause: error });
    }
  }
}

function derived(secret: Uint8Array, purpose: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", secret, "", purpose, KEY_BYTES));
}

function mapped(code: Code, change: (name: string, value: string) => string): Code {
  const changed = Object.entries(code.environment).map(([name, value]) => [name, change(name, value)]);
  return { ...code, environment: Object.fromEntries(changed) };
}
