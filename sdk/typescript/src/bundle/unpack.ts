import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { crc32, inflateRaw, inflateRawSync } from "node:zlib";
import { type ArchiveEntry, ArchiveIsInvalidError, checkArchive } from "./check_archive.js";

const inflateInPool = promisify(inflateRaw);

/** Files up to this size are inflated where they are: a round through the thread pool would take longer. */
const INFLATE_IN_PLACE_BYTES = 128 * 1024;
/** Files that are written at the same time. */
const WRITERS = 8;
const FILE_MODE = 0o644;
const EXECUTABLE_MODE = 0o755;

/**
 * Checks an archive and writes its files below `folder`, which must exist and be empty: what is already there is never
 * written over. Throws ArchiveIsInvalidError, also where a file is not what the archive promised.
 */
export async function unpackArchive(bytes: Uint8Array, folder: string, signal?: AbortSignal): Promise<void> {
  const entries = checkArchive(bytes);
  const parents = new Set<string>();
  for (const entry of entries) {
    const parent = entry.isDirectory ? entry.path : dirname(entry.path);
    if (parent !== ".") parents.add(parent);
  }
  for (const parent of parents) await mkdir(join(folder, parent), { recursive: true });

  // The writers share one list and each takes the next file. After a failure all of them stop before this returns, so
  // that the caller can remove the folder.
  const waiting = entries.filter((entry) => !entry.isDirectory).toReversed();
  const writeFiles = async (): Promise<void> => {
    for (let entry = waiting.pop(); entry !== undefined; entry = waiting.pop()) {
      try {
        signal?.throwIfAborted();
        const mode = entry.isExecutable ? EXECUTABLE_MODE : FILE_MODE;
        await writeFile(join(folder, entry.path), await unpackEntry(bytes, entry), { flag: "wx", mode });
      } catch (error) {
        waiting.length = 0;
        throw error;
      }
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: WRITERS }, writeFiles));
  const failure = outcomes.find((outcome) => outcome.status === "rejected");
  if (failure !== undefined) throw failure.reason;
}

export interface ArchivedFile {
  readonly path: string;
  readonly isExecutable: boolean;
  /** @throws ArchiveIsInvalidError where the content is not what the archive promised */
  readonly read: () => Promise<Uint8Array>;
}

/** Checks an archive and answers its files, without writing anything. @throws ArchiveIsInvalidError */
export function readArchive(bytes: Uint8Array): ArchivedFile[] {
  const files = checkArchive(bytes).filter((entry) => !entry.isDirectory);
  return files.map((entry) => ({
    path: entry.path,
    isExecutable: entry.isExecutable,
    read: () => unpackEntry(bytes, entry),
  }));
}

async function unpackEntry(bytes: Uint8Array, entry: ArchiveEntry): Promise<Uint8Array> {
  const packed = bytes.subarray(entry.dataStart, entry.dataStart + entry.packedBytes);
  const content = entry.isDeflated ? await inflateEntry(packed, entry) : packed;
  if (content.byteLength !== entry.unpackedBytes || crc32(content) !== entry.crc32) {
    throw new ArchiveIsInvalidError(`"${entry.path}" is damaged`);
  }
  return content;
}

async function inflateEntry(packed: Uint8Array, entry: ArchiveEntry): Promise<Uint8Array> {
  // zlib refuses a bound of 0.
  const options = { maxOutputLength: Math.max(entry.unpackedBytes, 1) };
  try {
    if (entry.unpackedBytes <= INFLATE_IN_PLACE_BYTES) return inflateRawSync(packed, options);
    return await inflateInPool(packed, options);
  } catch (error) {
    throw new ArchiveIsInvalidError(`"${entry.path}" is damaged`, { cause: error });
  }
}
