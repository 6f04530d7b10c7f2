import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zipSync } from "fflate";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createArchive } from "../bundle/archive.js";
import { ensureCode } from "./code_cache.js";

let cacheDir: string;
beforeEach(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), "multinode-cache-"));
});
afterEach(async () => {
  await rm(cacheDir, { recursive: true });
});

const archive = createArchive(new Map([["main.mjs", { data: Buffer.from("export {}") }]]));
let fetches = 0;
async function fetchBundle(): Promise<Uint8Array> {
  fetches += 1;
  return archive.bytes;
}

test("fetches and unpacks once", async () => {
  fetches = 0;
  const folder = await ensureCode(cacheDir, archive.digest, fetchBundle);
  expect(await readFile(join(folder, "main.mjs"), "utf8")).toBe("export {}");
  expect(await ensureCode(cacheDir, archive.digest, fetchBundle)).toBe(folder);
  expect(fetches).toBe(1);
});

test("workers that unpack at the same time agree", async () => {
  const folders = await Promise.all([1, 2, 3, 4].map(() => ensureCode(cacheDir, archive.digest, fetchBundle)));
  expect(new Set(folders).size).toBe(1);
  expect(await readdir(cacheDir)).toEqual([archive.digest]);
});

test("refuses another bundle, a bad archive and a bad digest, and leaves nothing behind", async () => {
  await expect(ensureCode(cacheDir, "0".repeat(64), fetchBundle)).rejects.toThrow(`instead of ${"0".repeat(64)}`);
  await expect(ensureCode(cacheDir, "../../etc", fetchBundle)).rejects.toThrow(/not a SHA-256 digest/);
  const slip = zipSync({ "../slip": Buffer.from("x") });
  const slipDigest = createHash("sha256").update(slip).digest("hex");
  await expect(ensureCode(cacheDir, slipDigest, async () => slip)).rejects.toThrow(/outside of the folder/);
  expect(await readdir(cacheDir)).toEqual([]);
});
