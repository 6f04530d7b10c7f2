import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createArchive } from "./archive.js";
import { unpackArchive } from "./unpack.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-unpack-"));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const text = (content: string): Uint8Array => new TextEncoder().encode(content);

test("writes the files of an archive", async () => {
  const large = new Uint8Array(300_000).map((_, index) => (index * 7) % 251);
  const { bytes } = createArchive(
    new Map([
      ["main.mjs", { data: text("export {}") }],
      ["node_modules/native/build/x.node", { data: large }],
      ["node_modules/native/bin/run", { data: text("#!/bin/sh"), executable: true }],
      ["empty", { data: new Uint8Array() }],
    ]),
  );
  await unpackArchive(bytes, folder);
  expect(await readFile(join(folder, "main.mjs"), "utf8")).toBe("export {}");
  expect(new Uint8Array(await readFile(join(folder, "node_modules/native/build/x.node")))).toEqual(large);
  expect((await readFile(join(folder, "empty"))).length).toBe(0);
  expect((await stat(join(folder, "node_modules/native/bin/run"))).mode & 0o111).not.toBe(0);
  expect((await stat(join(folder, "main.mjs"))).mode & 0o111).toBe(0);
});

test("writes nothing over what is there", async () => {
  await writeFile(join(folder, "main.mjs"), "mine");
  const { bytes } = createArchive(new Map([["main.mjs", { data: text("theirs") }]]));
  await expect(unpackArchive(bytes, folder)).rejects.toThrow(/EEXIST/);
  expect(await readFile(join(folder, "main.mjs"), "utf8")).toBe("mine");
});

test("refuses content that is not what the archive promised", async () => {
  const { bytes } = createArchive(new Map([["main.mjs", { data: text("export const a = 1;\n".repeat(50)) }]]));
  const damaged = bytes.slice();
  const dataStart = 30 + "main.mjs".length;
  damaged[dataStart + 5] = (damaged[dataStart + 5] ?? 0) ^ 0x55;
  await expect(unpackArchive(damaged, folder)).rejects.toThrow('"main.mjs" is damaged');

  // The content is longer than the central directory says.
  const lying = bytes.slice();
  const view = new DataView(lying.buffer, lying.byteOffset);
  view.setUint32(view.getUint32(lying.length - 6, true) + 24, 10, true);
  await expect(unpackArchive(lying, folder)).rejects.toThrow('"main.mjs" is damaged');
  expect(await readdir(folder)).toEqual([]);
});
