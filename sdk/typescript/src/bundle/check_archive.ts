import { LIMITS } from "../protocol/limits.js";

/** Why an archive is refused. The message is for the person who made it. */
export class ArchiveIsInvalidError extends Error {
  override readonly name = "ArchiveIsInvalidError";
}

/** One file or folder of a checked archive. Sizes are bytes. */
export interface ArchiveEntry {
  /** Path relative to the root of the archive, with "/" between its parts, none of them "", "." or "..". */
  readonly path: string;
  readonly isDirectory: boolean;
  readonly isExecutable: boolean;
  readonly isDeflated: boolean;
  /** Where the packed bytes begin in the archive. */
  readonly dataStart: number;
  readonly packedBytes: number;
  /** What the archive says; `unpackArchive` holds it to that. */
  readonly unpackedBytes: number;
  readonly crc32: number;
}

export interface ArchiveLimits {
  /** Size of the archive itself. */
  readonly packedBytes: number;
  /** Size of all files together. */
  readonly unpackedBytes: number;
  readonly entries: number;
  /** Unpacked size over packed size. */
  readonly ratio: number;
}

const BUNDLE_LIMITS: ArchiveLimits = {
  packedBytes: LIMITS.bundleBytes,
  unpackedBytes: LIMITS.bundleUnpackedBytes,
  entries: LIMITS.bundleEntries,
  ratio: LIMITS.bundleRatio,
};

/** Small archives compress as well as they like: the ratio is there to stop bombs. */
const RATIO_APPLIES_ABOVE_BYTES = 16 * 1024 * 1024;
const MAX_PATH_BYTES = 1_000;

const END_SIGNATURE = 0x06054b50;
const END_BYTES = 22;
const MAX_COMMENT_BYTES = 0xffff;
const CENTRAL_SIGNATURE = 0x02014b50;
const CENTRAL_BYTES = 46;
const LOCAL_SIGNATURE = 0x04034b50;
const LOCAL_BYTES = 30;

const STORED = 0;
const DEFLATED = 8;
const ENCRYPTED_FLAG = 1;
const ZIP64_SIZE = 0xffffffff;
const HOST_UNIX = 3;
const FILE_TYPE_MASK = 0o170000;
const REGULAR_FILE = 0o100000;
const DIRECTORY = 0o040000;
const EXECUTABLE_BITS = 0o111;
const PATH_DECODER = new TextDecoder("utf-8", { fatal: true });

/**
 * Checks a zip archive without unpacking it: its size and the sizes that it promises, that no entry lies outside its
 * folder, is a link or a device, occurs twice, is encrypted, or shares bytes with another. Throws ArchiveIsInvalidError.
 *
 * What the names say is read from the central directory alone, which is all that `unpackArchive` uses too, so there is
 * no second opinion for a crafted file to exploit.
 */
export function checkArchive(bytes: Uint8Array, limits: ArchiveLimits = BUNDLE_LIMITS): ArchiveEntry[] {
  if (bytes.byteLength > limits.packedBytes) {
    throw new ArchiveIsInvalidError(
      `the archive is ${bytes.byteLength} bytes; the limit is ${limits.packedBytes} bytes`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = findEnd(view);
  const count = view.getUint16(end + 10, true);
  const directoryStart = view.getUint32(end + 16, true);
  if (view.getUint16(end + 4, true) !== 0 || view.getUint16(end + 8, true) !== count || count === 0xffff) {
    throw new ArchiveIsInvalidError("the archive is in several parts or in the zip64 form, which is not supported");
  }
  if (count > limits.entries) {
    throw new ArchiveIsInvalidError(`the archive has ${count} entries; the limit is ${limits.entries}`);
  }
  const entries: ArchiveEntry[] = [];
  let position = directoryStart;
  for (let index = 0; index < count; index += 1) {
    if (position + CENTRAL_BYTES > end || view.getUint32(position, true) !== CENTRAL_SIGNATURE) throw damaged();
    const entryBytes =
      CENTRAL_BYTES +
      view.getUint16(position + 28, true) +
      view.getUint16(position + 30, true) +
      view.getUint16(position + 32, true);
    if (position + entryBytes > end) throw damaged();
    entries.push(readEntry(bytes, view, position, directoryStart));
    position += entryBytes;
  }
  checkTotals(entries, bytes.byteLength, limits);
  checkPaths(entries);
  checkOverlap(entries);
  return entries;
}

function damaged(): ArchiveIsInvalidError {
  return new ArchiveIsInvalidError("the archive is not a whole zip file");
}

function findEnd(view: DataView): number {
  const last = view.byteLength - END_BYTES;
  for (let at = last; at >= 0 && at >= last - MAX_COMMENT_BYTES; at -= 1) {
    if (view.getUint32(at, true) === END_SIGNATURE && view.getUint16(at + 20, true) === last - at) return at;
  }
  throw damaged();
}

function readEntry(bytes: Uint8Array, view: DataView, at: number, directoryStart: number): ArchiveEntry {
  const nameBytes = view.getUint16(at + 28, true);
  const rawPath = decodePath(bytes.subarray(at + CENTRAL_BYTES, at + CENTRAL_BYTES + nameBytes));
  const isDirectory = rawPath.endsWith("/");
  const path = isDirectory ? rawPath.slice(0, -1) : rawPath;
  checkPath(path);

  const method = view.getUint16(at + 10, true);
  const packedBytes = view.getUint32(at + 20, true);
  const unpackedBytes = view.getUint32(at + 24, true);
  const localStart = view.getUint32(at + 42, true);
  if ((view.getUint16(at + 8, true) & ENCRYPTED_FLAG) !== 0) throw new ArchiveIsInvalidError(`"${path}" is encrypted`);
  if (method !== STORED && method !== DEFLATED) {
    throw new ArchiveIsInvalidError(`"${path}" is packed by a method that is not supported (${method})`);
  }
  if (packedBytes === ZIP64_SIZE || unpackedBytes === ZIP64_SIZE || localStart === ZIP64_SIZE) {
    throw new ArchiveIsInvalidError(`"${path}" is in the zip64 form, which is not supported`);
  }
  if (method === STORED && packedBytes !== unpackedBytes) throw damaged();
  if (isDirectory && unpackedBytes !== 0) throw new ArchiveIsInvalidError(`the folder "${path}" has content`);

  const mode = view.getUint8(at + 5) === HOST_UNIX ? view.getUint32(at + 38, true) >>> 16 : 0;
  const type = mode & FILE_TYPE_MASK;
  if (type !== 0 && type !== (isDirectory ? DIRECTORY : REGULAR_FILE)) {
    throw new ArchiveIsInvalidError(`"${path}" is a link or another special file; only files and folders are allowed`);
  }

  if (localStart + LOCAL_BYTES > directoryStart || view.getUint32(localStart, true) !== LOCAL_SIGNATURE)
    throw damaged();
  const dataStart =
    localStart + LOCAL_BYTES + view.getUint16(localStart + 26, true) + view.getUint16(localStart + 28, true);
  if (dataStart + packedBytes > directoryStart) throw damaged();
  return {
    path,
    isDirectory,
    isExecutable: (mode & EXECUTABLE_BITS) !== 0,
    isDeflated: method === DEFLATED,
    dataStart,
    packedBytes,
    unpackedBytes,
    crc32: view.getUint32(at + 16, true),
  };
}

function decodePath(raw: Uint8Array): string {
  if (raw.byteLength > MAX_PATH_BYTES) {
    throw new ArchiveIsInvalidError(`a path has ${raw.byteLength} bytes; the limit is ${MAX_PATH_BYTES} bytes`);
  }
  try {
    return PATH_DECODER.decode(raw);
  } catch {
    throw new ArchiveIsInvalidError("a path is not UTF-8");
  }
}

function checkPath(path: string): void {
  const isInside = path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
  if (!isInside || path.includes("\\") || path.includes("\0") || /^[A-Za-z]:/.test(path)) {
    throw new ArchiveIsInvalidError(`the path ${JSON.stringify(path)} would be written outside of the folder`);
  }
}

function checkTotals(entries: readonly ArchiveEntry[], packedBytes: number, limits: ArchiveLimits): void {
  let unpackedBytes = 0;
  for (const entry of entries) unpackedBytes += entry.unpackedBytes;
  if (unpackedBytes > limits.unpackedBytes) {
    throw new ArchiveIsInvalidError(
      `the archive unpacks to ${unpackedBytes} bytes; the limit is ${limits.unpackedBytes} bytes`,
    );
  }
  if (unpackedBytes > RATIO_APPLIES_ABOVE_BYTES && unpackedBytes > packedBytes * limits.ratio) {
    throw new ArchiveIsInvalidError(`the archive unpacks to more than ${limits.ratio} times its size`);
  }
}

/** No path twice, and none below a file. */
function checkPaths(entries: readonly ArchiveEntry[]): void {
  const isDirectoryByPath = new Map<string, boolean>();
  for (const entry of entries) {
    if (isDirectoryByPath.has(entry.path)) throw new ArchiveIsInvalidError(`"${entry.path}" is there twice`);
    isDirectoryByPath.set(entry.path, entry.isDirectory);
  }
  for (const { path } of entries) {
    for (let slash = path.indexOf("/"); slash >= 0; slash = path.indexOf("/", slash + 1)) {
      const parent = path.slice(0, slash);
      if (isDirectoryByPath.get(parent) === false) {
        throw new ArchiveIsInvalidError(`"${parent}" is a file and a folder at once`);
      }
    }
  }
}

function checkOverlap(entries: readonly ArchiveEntry[]): void {
  let previousEnd = 0;
  for (const entry of entries.toSorted((a, b) => a.dataStart - b.dataStart)) {
    if (entry.dataStart < previousEnd)
      throw new ArchiveIsInvalidError(`"${entry.path}" shares bytes with another file`);
    previousEnd = entry.dataStart + entry.packedBytes;
  }
}
