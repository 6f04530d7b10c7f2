/** Removes images that no version uses any more: looked for now and then, and soon after a project has changed. */
import type { CatalogServiceClient } from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import type { Bus } from "../../platform/bus/bus.js";
import type { Logger } from "../../platform/log.js";
import type { RuntimeImages } from "../runtime/runtime.js";

const INTERVAL_MS = 10 * 60_000;
/** Hints of this long share one look. */
const HINT_DELAY_MS = 1_000;

export interface ImageSweeperSettings {
  readonly images: RuntimeImages;
  readonly catalog: Pick<CatalogServiceClient, "findUsedBundles">;
  readonly bus: Bus;
  readonly log: Logger;
}

export class ImageSweeper {
  readonly #settings: ImageSweeperSettings;
  readonly #stopping = new AbortController();
  #unsubscribe: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #hintTimer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();

  constructor(settings: ImageSweeperSettings) {
    this.#settings = settings;
  }

  start(): void {
    const hint = () => {
      this.#hintTimer ??= setTimeout(() => this.#look(), HINT_DELAY_MS).unref();
    };
    this.#unsubscribe = this.#settings.bus.subscribe("project", hint, hint);
    this.#timer = setInterval(() => this.#look(), INTERVAL_MS).unref();
    hint();
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.();
    clearInterval(this.#timer);
    clearTimeout(this.#hintTimer);
    this.#stopping.abort();
    await this.#looking;
  }

  #look(): void {
    this.#hintTimer = undefined;
    const { images, log } = this.#settings;
    const { signal } = this.#stopping;
    this.#looking = this.#looking
      .then(() => images.removeUnused((contextDigests) => this.#findUsed(contextDigests), signal))
      .catch((err: unknown) => {
        if (!signal.aborted) log.warn({ err }, "images that are not used were not looked for");
      });
  }

  async #findUsed(contextDigests: readonly string[]): Promise<ReadonlySet<string>> {
    const used = new Set<string>();
    for (let start = 0; start < contextDigests.length; start += LIMITS.maxPageSize) {
      const digests = contextDigests.slice(start, start + LIMITS.maxPageSize);
      const answer = await this.#settings.catalog.findUsedBundles({ digests }, { signal: this.#stopping.signal });
      for (const digest of answer.digests) used.add(digest);
    }
    return used;
  }
}
