import { type Zippable, zipSync } from "fflate";
import { describe, expect, test } from "vitest";
import { ArchiveIsInvalidError, checkArchive } from "./check_archive.js";

const UNIX = 3;
const SYMLINK = 0o120777;
const text = (content: string): Uint8Array => new TextEncoder().encode(content);
const zip = (files: Zippable): Uint8Array => zipSync(files, { mtime: new Date(1980, 0, 1) });

describe("checkArchive", () => {
  test("lists the entries of a good archive", () => {
    const archive = zip({
      "main.mjs": text("export {}"),
      "node_modules/a/index.js": text("x".repeat(1_000)),
      "empty/": new Uint8Array(),
    });
    const entries = checkArchive(archive);
    expect(entries.map(({ path, isDirectory, unpackedBytes }) => [path, isDirectory, unpackedBytes])).toEqual([
      ["main.mjs", false, 9],
      ["node_modules/a/index.js", false, 1_000],
      ["empty", true, 0],
    ]);
  });

  test("knows which files are executable", () => {
    const archive = zip({ run: [text("#!"), { os: UNIX, attrs: (0o100755 << 16) >>> 0 }], "main.mjs": text("") });
    expect(checkArchive(archive).map(({ isExecutable }) => isExecutable)).toEqual([true, false]);
  });

  test.each(["../evil", "a/../../evil", "/etc/passwd", "a//b", "./a", "a\\b", "C:evil", "a\0b", "..", "../dir/"])(
    "refuses the path %j",
    (path) => {
      const content = path.endsWith("/") ? new Uint8Array() : text("x");
      expect(() => checkArchive(zip({ [path]: content }))).toThrow(/outside of the folder/);
    },
  );

  test("refuses a symbolic link", () => {
    const archive = zip({ link: [text("/etc/passwd"), { os: UNIX, attrs: (SYMLINK << 16) >>> 0 }] });
    expect(() => checkArchive(archive)).toThrow(/link/);
  });

  test("refuses a file below a file", () => {
    expect(() => checkArchive(zip({ a: text("1"), "a/b": text("2") }))).toThrow(/at once/);
  });

  test("refuses the same path twice", () => {
    const archive = zip({ ab: text("1"), ac: text("2") });
    for (let at = 0; at + 1 < archive.length; at += 1) {
      if (archive[at] === 0x61 && archive[at + 1] === 0x63) archive[at + 1] = 0x62;
    }
    expect(() => checkArchive(archive)).toThrow(/twice/);
  });

  test("refuses what is above a limit", () => {
    const limits = { packedBytes: 10_000, unpackedBytes: 1_000, entries: 2, ratio: 100 };
    expect(() => checkArchive(zip({ a: new Uint8Array(1_001) }), limits)).toThrow(
      "unpacks to 1001 bytes; the limit is 1000 bytes",
    );
    expect(() => checkArchive(zip({ a: text(""), b: text(""), c: text("") }), limits)).toThrow(
      "3 entries; the limit is 2",
    );
    expect(() => checkArchive(new Uint8Array(10_001), limits)).toThrow("10001 bytes; the limit is 10000 bytes");
  });

  test("refuses a bomb", () => {
    const archive = zip({ a: [new Uint8Array(20 * 1024 * 1024), { level: 9 }] });
    expect(() => checkArchive(archive)).toThrow("more than 100 times");
  });

  test("refuses entries that share bytes", () => {
    const archive = zip({ a: [text("same"), { level: 0 }], b: [text("same"), { level: 0 }] });
    const view = new DataView(archive.buffer, archive.byteOffset);
    const directoryStart = view.getUint32(archive.length - 6, true);
    // The second entry's local header is said to be where the first one's is.
    view.setUint32(directoryStart + 47 + 42, 0, true);
    expect(() => checkArchive(archive)).toThrow(/shares bytes/);
  });

  test("refuses whatever is cut or changed, and never fails in another way", () => {
    const archive = zip({ "main.mjs": text("export const a = 1;"), "dir/b": text("b") });
    for (let length = 0; length < archive.length; length += 1) {
      expect(() => checkArchive(archive.subarray(0, length))).toThrow(ArchiveIsInvalidError);
    }
    for (let at = 0; at < archive.length; at += 1) {
      const changed = archive.slice();
      changed[at] = 0xff;
      try {
        checkArchive(changed);
      } catch (error) {
        expect(error).toBeInstanceOf(ArchiveIsInvalidError);
      }
    }
  });
});
