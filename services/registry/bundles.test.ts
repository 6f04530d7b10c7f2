import { createHash } from "node:crypto";
import { readdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BUNDLE_GRACE_MS } from "./bundles.js";
import { archiveOf, functionNamed, openTestRegistry, type TestRegistry } from "./test_registry.js";

const MIB = 1024 * 1024;

let test: TestRegistry;
beforeAll(async () => {
  test = await openTestRegistry();
});
afterAll(() => test.close());

async function* messages(digest: string, bytes: Uint8Array, chunkBytes = MIB) {
  for (let start = 0; start === 0 || start < bytes.byteLength; start += chunkBytes) {
    yield { digest: start === 0 ? digest : "", chunk: Buffer.from(bytes.subarray(start, start + chunkBytes)) };
  }
}

function upload(digest: string, bytes: Uint8Array, chunkBytes = MIB) {
  return test.registry.uploadBundle(messages(digest, bytes, chunkBytes));
}

async function download(digest: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const { chunk } of test.catalog.downloadBundle({ digest })) {
    expect(chunk.byteLength).toBeLessThanOrEqual(256 * 1024);
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Not compressed, so that it is as large as its content. */
function zip(files: Record<string, Uint8Array>): { bytes: Uint8Array; digest: string } {
  const bytes = zipSync(files, { level: 0 });
  return { bytes, digest: sha256(bytes) };
}

describe("bundles", () => {
  it("come back as they were uploaded", async () => {
    const { bytes, digest } = zip({ "main.mjs": Buffer.alloc(3 * MIB + 1, 7) });
    expect(await upload(digest, bytes)).toEqual({ sizeBytes: bytes.byteLength });
    expect(sha256(await download(digest))).toBe(digest);
  });

  it("that are there already are answered at once", async () => {
    const { bytes, digest } = archiveOf("there");
    await upload(digest, bytes);
    let sent = 0;
    const endless = async function* () {
      for (; sent < 10_000; sent++) yield { digest, chunk: Buffer.alloc(MIB) };
    };
    expect(await test.registry.uploadBundle(endless())).toEqual({ sizeBytes: bytes.byteLength });
    expect(sent).toBeLessThan(100);
  });

  it("may be uploaded several times at once", async () => {
    const { bytes, digest } = zip({ "main.mjs": Buffer.alloc(MIB, 5) });
    const sizes = await Promise.all(Array.from({ length: 5 }, () => upload(digest, bytes, 100_000)));
    expect(sizes).toEqual(Array.from({ length: 5 }, () => ({ sizeBytes: bytes.byteLength })));
    expect(sha256(await download(digest))).toBe(digest);
  });

  it.each<[string, () => { bytes: Uint8Array; digest: string }, RegExp]>([
    ["a wrong digest", () => ({ ...archiveOf("x"), digest: "0".repeat(64) }), /has the digest [0-9a-f]{64}, not 0000/],
    ["no bytes", () => ({ bytes: new Uint8Array(), digest: sha256(new Uint8Array()) }), /not a whole zip file/],
    ["what is no zip file", () => ({ bytes: Buffer.from("x"), digest: sha256(Buffer.from("x")) }), /whole zip file/],
    ["a path outside", () => zip({ "../../etc/x": Buffer.from("x") }), /outside of the folder/],
    ["an absolute path", () => zip({ "/etc/x": Buffer.from("x") }), /outside of the folder/],
    ["more than 50 MiB", () => zip({ "main.mjs": Buffer.alloc(50 * MIB) }), /more than 52428800 bytes/],
  ])("are refused with %s", async (_, make, message) => {
    const { bytes, digest } = make();
    await expect(upload(digest, bytes)).rejects.toMatchObject({
      reason: "BundleIsInvalid",
      message: expect.stringMatching(message),
    });
    const left = await readdir(test.bundleFolder);
    expect(left.filter((name) => name.endsWith(".part") || name.startsWith(digest))).toEqual([]);
  });

  it("are refused with bad fields", async () => {
    const { bytes } = archiveOf("x");
    const refused = { reason: "ParameterValidationError" };
    for (const digest of ["", "x", "../../etc/passwd", "A".repeat(64)]) {
      await expect(upload(digest, bytes)).rejects.toMatchObject(refused);
      await expect(download(digest)).rejects.toMatchObject(refused);
    }
    const none = async function* () {};
    await expect(test.registry.uploadBundle(none())).rejects.toMatchObject(refused);
    const large = Buffer.alloc(MIB + 1);
    await expect(upload(sha256(large), large, MIB + 1)).rejects.toMatchObject(refused);
    await expect(download("0".repeat(64))).rejects.toMatchObject({ reason: "BundleDoesNotExist" });
  });

  it("leave nothing behind when the caller goes away", async () => {
    const abort = new AbortController();
    const halfway = async function* () {
      yield { digest: "1".repeat(64), chunk: Buffer.alloc(MIB) };
      abort.abort();
    };
    await expect(test.registry.uploadBundle(halfway(), { signal: abort.signal })).rejects.toThrow(/aborted/);
    await expect
      .poll(async () => (await readdir(test.bundleFolder)).filter((name) => name.endsWith(".part")), { timeout: 5_000 })
      .toEqual([]);
  });
});

describe("unused bundles", () => {
  const sweep = () => test.bundles.removeUnused(async () => new Set([archiveOf("used").digest]));

  it("are removed after a while, used and new ones are not", async () => {
    const archives = ["used", "unused", "kept"].map(archiveOf);
    for (const { digest, bytes } of archives) await upload(digest, bytes);
    const partial = join(test.bundleFolder, `${"2".repeat(64)}.abc.part`);
    await writeFile(partial, "x");
    await utimes(partial, 1, 1);
    await writeFile(join(test.bundleFolder, "other"), "x");

    test.clock.advance(BUNDLE_GRACE_MS);
    await sweep();
    expect(await readdir(test.bundleFolder)).toEqual(
      expect.arrayContaining(archives.map(({ digest }) => `${digest}.zip`)),
    );
    test.clock.advance(1);
    expect(await test.bundles.keep(archiveOf("kept").digest)).toBeGreaterThan(0);
    await sweep();
    const kept = ["used", "kept"].map((text) => `${archiveOf(text).digest}.zip`);
    expect((await readdir(test.bundleFolder)).toSorted()).toEqual([...kept, "other"].toSorted());
    expect(await test.bundles.keep(archiveOf("unused").digest)).toBeUndefined();
  });

  it("are not removed in the moment in which they are asked to be kept", async () => {
    for (let round = 0; round < 200; round++) {
      const digest = sha256(Buffer.from(String(round)));
      const path = join(test.bundleFolder, `${digest}.zip`);
      await writeFile(path, "x");
      await utimes(path, 1, 1);
      let keeping: Promise<number | undefined> = Promise.resolve(undefined);
      await test.bundles.removeUnused(async () => {
        keeping = test.bundles.keep(digest);
        return new Set();
      });
      const isKept = (await keeping) !== undefined;
      expect((await readdir(test.bundleFolder)).includes(`${digest}.zip`)).toBe(isKept);
    }
  });

  it("can be used by a version within that while", async () => {
    const { digest, bytes } = archiveOf("deployed");
    await upload(digest, bytes);
    const code = { source: { $case: "bundle", value: { digest } }, environment: {} } as const;
    const functions = [functionNamed("f")];
    const { version } = await test.registry.createVersion({ projectName: "p", code, functions, projectPolicy: 2 });
    expect(version?.code).toEqual(code);
  });
});
