import { createHash, randomUUID } from "node:crypto";
import { statSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { unpackArchive } from "../bundle/unpack.js";

const DIGEST = /^[0-9a-f]{64}$/;

/** A bundle that is not the one that was asked for. */
export class BundleIsDamagedError extends Error {
  override readonly name = "BundleIsDamagedError";
}

/**
 * The folder that holds a bundle's files, which is fetched, verified and unpacked where it is not there yet.
 *
 * A folder of the cache is either whole or absent: it is filled under another name and then renamed. Workers that do this
 * at the same time unpack twice and the first rename wins.
 *
 * @param digest SHA-256 of the archive, in lower-case hexadecimal
 * @param fetchBundle answers the bytes of the archive
 */
export async function ensureCode(
  cacheDir: string,
  digest: string,
  fetchBundle: () => Promise<Uint8Array>,
): Promise<string> {
  // The digest becomes a path.
  if (!DIGEST.test(digest)) throw new BundleIsDamagedError(`"${digest}" is not a SHA-256 digest`);
  const folder = join(cacheDir, digest);
  if (isFolder(folder)) return folder;

  const bytes = await fetchBundle();
  const actual = createHash("sha256").update(bytes).digest("hex");
  if (actual !== digest) throw new BundleIsDamagedError(`the bundle has the digest ${actual} instead of ${digest}`);

  const unfinished = join(cacheDir, `.unfinished-${digest.slice(0, 12)}-${randomUUID()}`);
  await mkdir(unfinished, { recursive: true });
  try {
    await unpackArchive(bytes, unfinished);
    await rename(unfinished, folder);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    if (!isFolder(folder)) throw error;
  }
  return folder;
}

/** At once: the modules that a promise of it needs are not loaded where the folder is there. */
function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
