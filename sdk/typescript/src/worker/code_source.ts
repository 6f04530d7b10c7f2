import type { BindWorker } from "../../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import type { BootConfig } from "./boot_config.js";
import { ensureCode } from "./code_cache.js";
import { errorText } from "./error_text.js";
import { fetchBundle } from "./fetch_bundle.js";
import type { BindMessage } from "./messages.js";

/** Where a worker has its code from: a bundle that it fetches. Nothing here rejects. */
export class CodeSource {
  readonly #config: BootConfig;
  readonly #schedulerUrl: () => string;
  /** What came of bundles that were named before the worker is bound, by digest. */
  readonly #prepared = new Map<string, Promise<BindMessage["code"]>>();

  /** @param schedulerUrl where a scheduler is reached now */
  constructor(config: BootConfig, schedulerUrl: () => string) {
    this.#config = config;
    this.#schedulerUrl = schedulerUrl;
  }

  prepare(digest: string): void {
    if (!this.#prepared.has(digest)) this.#prepared.set(digest, this.#fetch(digest));
  }

  async of(bind: BindWorker): Promise<BindMessage["code"]> {
    const source = bind.code?.source;
    if (source?.$case !== "bundle") return { error: "the version has no bundle" };
    const { digest } = source.value;
    const code = await this.#prepared.get(digest);
    // What could not be fetched then may be there by now.
    return code !== undefined && "folder" in code ? code : await this.#fetch(digest);
  }

  async #fetch(digest: string): Promise<BindMessage["code"]> {
    try {
      const { workerToken, bundleCacheDir } = this.#config;
      const fetch = (): Promise<Uint8Array> => fetchBundle(this.#schedulerUrl, workerToken, digest);
      return { folder: await ensureCode(bundleCacheDir, digest, fetch) };
    } catch (error) {
      return { error: errorText(error) };
    }
  }
}
