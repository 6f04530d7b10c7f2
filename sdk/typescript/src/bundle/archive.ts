import { createHash } from "node:crypto";
import { type Zippable, zipSync } from "fflate";

export interface ArchiveFile {
  readonly data: Uint8Array;
  readonly executable?: boolean;
}

export interface Archive {
  /** A zip file. */
  readonly bytes: Uint8Array;
  /** SHA-256 of `bytes`, 64 lower-case hexadecimal digits. */
  readonly digest: string;
}

const UNIX = 3;
const REGULAR_FILE = 0o100_000;

/**
 * Packs files into a zip file. The same files make the same bytes wherever and whenever they are packed, so that a
 * project that has not changed has the digest it had.
 *
 * @param files by path in the archive, with "/" between the parts
 */
export function createArchive(files: ReadonlyMap<string, ArchiveFile>): Archive {
  // fflate writes local times: the local midnight reads the same in every time zone.
  const mtime = new Date(1980, 0, 1);
  const entries: Zippable = {};
  for (const path of [...files.keys()].toSorted()) {
    const file = files.get(path);
    if (file === undefined) continue;
    const mode = REGULAR_FILE | (file.executable === true ? 0o755 : 0o644);
    entries[path] = [file.data, { mtime, os: UNIX, attrs: mode << 16, level: 6 }];
  }
  const bytes = zipSync(entries);
  return { bytes, digest: createHash("sha256").update(bytes).digest("hex") };
}
