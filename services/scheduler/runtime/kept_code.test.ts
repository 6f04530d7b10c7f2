import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { KeptCode } from "./kept_code.js";

const WAIT = { timeout: 5_000, interval: 5 };
const KEEP_MS = 60;
let folder: string;
let now: number;
let code: KeptCode;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-kept-"));
  now = 1_000;
  code = new KeptCode(folder, KEEP_MS, () => now);
});
afterEach(() => rm(folder, { recursive: true }));

const unpack = (...names: string[]) => {
  for (const name of names) mkdirSync(join(code.bundles, name, "code"), { recursive: true });
};
const bundles = () => readdirSync(code.bundles).filter((name) => !name.startsWith(".old-"));
const look = (...inUse: string[]) => code.removeUnused(new Set(inUse));

it("a bundle goes when no worker has used it for a while, and not before", async () => {
  unpack("a", "b");
  look("a");
  now += KEEP_MS;
  look("a");
  expect(bundles()).toEqual(["a", "b"]);
  now += 1;
  look("a");
  expect(bundles()).toEqual(["a"]);
  now += KEEP_MS;
  code.used(["a"]);
  now += KEEP_MS;
  look();
  expect(bundles()).toEqual(["a"]);
  now += 1;
  look();
  // Of what is taken away nothing is left.
  await vi.waitFor(() => expect(readdirSync(code.bundles)).toEqual([]), WAIT);
});

it("one that is unpacked again is as a new one", () => {
  unpack("a");
  look();
  now += KEEP_MS + 1;
  look();
  expect(bundles()).toEqual([]);
  unpack("a");
  look();
  now += KEEP_MS;
  look();
  expect(bundles()).toEqual(["a"]);
});

it("what a worker left that was killed while it unpacked goes too", () => {
  unpack(".unfinished-a");
  look("a");
  now += KEEP_MS + 1;
  look("a");
  expect(bundles()).toEqual([]);
});

it("compiled code goes with a bundle, and stays while none goes", () => {
  unpack("a", "b");
  const path = join(code.compiled, "of-node");
  mkdirSync(path);
  look("a", "b");
  now += KEEP_MS + 1;
  look("a", "b");
  expect(existsSync(path)).toBe(true);
  now += KEEP_MS + 1;
  look("a");
  expect(existsSync(path)).toBe(false);
});
