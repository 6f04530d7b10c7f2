/** The functions of versions, in memory: a version never changes, so what was read once stays right. */
import type { FunctionSpec } from "../../gen/multinode/registry/v1/function.pb.js";
import type { VersionStore } from "./store.js";

export interface LoadedFunctions {
  readonly projectId: string;
  /** By name. */
  readonly functions: ReadonlyMap<string, FunctionSpec>;
  readonly sizeBytes: number;
}

const CACHE_BYTES = 64 * 1024 * 1024;
/** What an entry takes beside its specs. */
const ENTRY_BYTES = 1_000;

export class VersionFunctions {
  readonly #store: VersionStore;
  /** Least recently used first. */
  readonly #cache = new Map<string, LoadedFunctions>();
  #cachedBytes = 0;

  constructor(store: VersionStore) {
    this.#store = store;
  }

  /** Answers undefined where there is no such version. What it answers must not be changed. */
  async of(versionId: string): Promise<LoadedFunctions | undefined> {
    const cached = this.#cache.get(versionId);
    if (cached !== undefined) {
      this.#cache.delete(versionId);
      this.#cache.set(versionId, cached);
      return cached;
    }
    const found = await this.#store.loadFunctions(versionId);
    if (found === undefined) return undefined;
    const functions = new Map(found.functions.map((spec) => [spec.functionName, spec]));
    const loaded = { projectId: found.projectId, functions, sizeBytes: found.sizeBytes + ENTRY_BYTES };
    this.#add(versionId, loaded);
    return loaded;
  }

  #add(versionId: string, loaded: LoadedFunctions): void {
    if (this.#cache.has(versionId)) return;
    this.#cache.set(versionId, loaded);
    this.#cachedBytes += loaded.sizeBytes;
    for (const [oldest, { sizeBytes }] of this.#cache) {
      if (this.#cachedBytes <= CACHE_BYTES) break;
      this.#cache.delete(oldest);
      this.#cachedBytes -= sizeBytes;
    }
  }
}
