/** The port to the archives of code, which are named by the SHA-256 of their bytes and never change. */
import { Refusal } from "../platform/errors.js";

/** How long a bundle that no version uses is kept after it was last uploaded or kept. */
export const BUNDLE_GRACE_MS = 10 * 60_000;

export interface BundleStore {
  /**
   * Answers the size in bytes of a bundle that is there, or undefined; keeps it from `removeUnused` for
   * BUNDLE_GRACE_MS, so that a version that is about to use it can be saved.
   */
  keep(digest: string): Promise<number | undefined>;
  /** Stores a bundle, checked, whole or not at all, and answers its size in bytes. @throws Refusal BundleIsInvalid. */
  put(digest: string, chunks: AsyncIterable<Uint8Array>): Promise<number>;
  /** Answers the bytes in parts of at most `downloadChunkBytes`. @throws Refusal BundleDoesNotExist. */
  read(digest: string): AsyncIterable<Uint8Array>;
  /** Removes old bundles that `findUsed` does not answer, and what is left of uploads that never ended. */
  removeUnused(findUsed: (digests: readonly string[]) => Promise<ReadonlySet<string>>): Promise<void>;
}

export function bundleDoesNotExist(digest: string): Refusal {
  return new Refusal("BundleDoesNotExist", `bundle ${digest} does not exist: upload it first`, {
    metadata: { digest },
  });
}
