/**
 * Bundles as files of one folder, which several processes may share.
 *
 * B1. `<digest>.zip` is whole, checked and on the disk: it is written as `<digest>.<random>.part` and renamed.
 * B2. The time of a file is when its bundle was last asked to be kept; a `.part` file's is when it last grew.
 */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, rmSync, type Stats, statSync } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { ArchiveIsInvalidError, checkArchive } from "../../sdk/typescript/src/bundle/check_archive.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import type { Clock } from "../platform/clock.js";
import { diskIsFull, Refusal } from "../platform/errors.js";
import { syncFolder } from "../platform/store/whole_file.js";
import { BUNDLE_GRACE_MS, type BundleStore, bundleDoesNotExist } from "./bundles.js";

const ARCHIVE_FILE = /^([0-9a-f]{64})\.zip$/;
const PARTIAL_FILE = /^[0-9a-f]{64}\.[0-9a-f]+\.part$/;

/** `folder` is made if it is missing. */
export async function openBundlesOnDisk(folder: string, clock: Clock): Promise<BundleStore> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return new BundlesOnDisk(folder, clock);
}

class BundlesOnDisk implements BundleStore {
  readonly #folder: string;
  readonly #clock: Clock;
  /** Archives are checked in memory, so one at a time. */
  #checking: Promise<void> = Promise.resolve();

  constructor(folder: string, clock: Clock) {
    this.#folder = folder;
    this.#clock = clock;
  }

  async keep(digest: string): Promise<number | undefined> {
    const path = this.#path(digest);
    try {
      await this.#touch(path);
      return (await stat(path)).size;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async put(digest: string, chunks: AsyncIterable<Uint8Array>): Promise<number> {
    const partial = join(this.#folder, `${digest}.${randomBytes(6).toString("hex")}.part`);
    try {
      const size = await writeChecked(partial, digest, chunks);
      await this.#check(partial);
      await this.#touch(partial);
      await rename(partial, this.#path(digest));
      await syncFolder(this.#folder);
      return size;
    } catch (error) {
      throw asRefusal(error);
    } finally {
      await rm(partial, { force: true });
    }
  }

  async *read(digest: string): AsyncIterable<Uint8Array> {
    const stream = createReadStream(this.#path(digest), { highWaterMark: LIMITS.downloadChunkBytes });
    try {
      yield* stream;
    } catch (error) {
      throw isMissing(error) ? bundleDoesNotExist(digest) : error;
    } finally {
      stream.destroy();
    }
  }

  async removeUnused(findUsed: (digests: readonly string[]) => Promise<ReadonlySet<string>>): Promise<void> {
    const old: string[] = [];
    for (const name of await readdir(this.#folder)) {
      const digest = ARCHIVE_FILE.exec(name)?.[1];
      if (digest === undefined && !PARTIAL_FILE.test(name)) continue;
      if (!(await this.#isOld(name))) continue;
      if (digest === undefined) await rm(join(this.#folder, name), { force: true });
      else old.push(digest);
    }
    const used = await findUsed(old);
    for (const digest of old) if (!used.has(digest)) this.#removeIfOld(digest);
  }

  /** In one step of this process: between a look and a removal `keep` would promise what goes. */
  #removeIfOld(digest: string): void {
    const path = this.#path(digest);
    const found = statSync(path, { throwIfNoEntry: false });
    if (found !== undefined && this.#isBeforeGrace(found)) rmSync(path, { force: true });
  }

  #path(digest: string): string {
    return join(this.#folder, `${digest}.zip`);
  }

  async #touch(path: string): Promise<void> {
    const seconds = this.#clock.now() / 1000;
    await utimes(path, seconds, seconds);
  }

  async #isOld(name: string): Promise<boolean> {
    try {
      return this.#isBeforeGrace(await stat(join(this.#folder, name)));
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
  }

  #isBeforeGrace({ mtimeMs }: Stats): boolean {
    return mtimeMs < this.#clock.now() - BUNDLE_GRACE_MS;
  }

  async #check(path: string): Promise<void> {
    const check = this.#checking.then(async () => {
      checkArchive(await readFile(path));
    });
    this.#checking = check.catch(() => {});
    await check;
  }
}

/** Answers the size. The content is on the disk afterwards. */
async function writeChecked(path: string, digest: string, chunks: AsyncIterable<Uint8Array>): Promise<number> {
  const hash = createHash("sha256");
  let size = 0;
  const file = await open(path, "wx", 0o600);
  try {
    for await (const chunk of chunks) {
      size += chunk.byteLength;
      if (size > LIMITS.bundleBytes) throw bundleIsInvalid(`the archive has more than ${LIMITS.bundleBytes} bytes`);
      hash.update(chunk);
      await file.writeFile(chunk);
    }
    const actual = hash.digest("hex");
    if (actual !== digest) throw bundleIsInvalid(`the archive has the digest ${actual}, not ${digest}`);
    await file.sync();
  } finally {
    await file.close();
  }
  return size;
}

function bundleIsInvalid(message: string): Refusal {
  return new Refusal("BundleIsInvalid", message);
}

function asRefusal(error: unknown): unknown {
  if (error instanceof ArchiveIsInvalidError) return bundleIsInvalid(error.message);
  return errorCode(error) === "ENOSPC" ? diskIsFull("server", error) : error;
}

function isMissing(error: unknown): boolean {
  return errorCode(error) === "ENOENT";
}

function errorCode(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
