/**
 * The code of versions, asked of the registry once for each. An outage of the registry delays: it is asked again, for as long
 * as somebody waits, since what an execution waits for is no failure of it.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { CatalogServiceClient } from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import type { Code } from "../../../gen/multinode/registry/v1/function.pb.js";
import { backoffMs } from "../../platform/backoff.js";
import { Refusal } from "../../platform/errors.js";
import type { Logger } from "../../platform/log.js";

/** Versions whose code is remembered. */
const MOST_VERSIONS = 1_000;
const FIRST_BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 5_000;
/** How often an error is tried again that is the registry's answer, or comes of a connection that broke: both look the same. */
const ERROR_RETRIES = 3;

export interface VersionCodeHost {
  readonly catalog: Pick<CatalogServiceClient, "getCode">;
  readonly log: Logger;
  /** Whether anybody waits for the code of this version. */
  readonly isWanted: (versionId: string) => boolean;
}

export class VersionCode {
  readonly #host: VersionCodeHost;
  readonly #code = new Map<string, Promise<Code>>();

  constructor(host: VersionCodeHost) {
    this.#host = host;
  }

  /** Rejects where the registry refuses it for good, or when nobody wants it any more. */
  of(versionId: string): Promise<Code> {
    const known = this.#code.get(versionId);
    if (known !== undefined) return known;
    const code = this.#insist(versionId);
    if (this.#code.size > MOST_VERSIONS) this.#code.clear();
    this.#code.set(versionId, code);
    code.catch(() => {
      if (this.#code.get(versionId) === code) this.#code.delete(versionId);
    });
    return code;
  }

  async #insist(versionId: string): Promise<Code> {
    const { catalog, log, isWanted } = this.#host;
    let errors = 0;
    for (let attempt = 0; ; attempt += 1) {
      try {
        const { code } = await catalog.getCode({ versionId });
        if (code === undefined) throw new Error(`the registry gave no code of ${versionId}`);
        return code;
      } catch (err) {
        if (!isOutage(err)) errors += 1;
        const isFinal = errors > ERROR_RETRIES || (err instanceof Refusal && !isOutage(err));
        if (isFinal || !isWanted(versionId)) throw err;
        log.warn({ err, versionId }, "the code of a version cannot be had now; asking again");
      }
      await delay(backoffMs(attempt, FIRST_BACKOFF_MS, LONGEST_BACKOFF_MS), undefined, { ref: false });
    }
  }
}

function isOutage(error: unknown): boolean {
  return error instanceof Refusal && (error.reason === "Unavailable" || error.reason === "ResourceExhausted");
}
