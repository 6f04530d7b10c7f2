import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { writeWholeFile } from "./whole_file.js";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "multinode-test-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

test("it writes, replaces, and leaves nothing else behind", async () => {
  const file = join(folder, "secret");
  // As a write that was cut off leaves it.
  writeFileSync(`${file}.new`, "ha");
  await writeWholeFile(file, "first");
  await writeWholeFile(file, new Uint8Array([50]));
  expect(readFileSync(file, "utf8")).toBe("2");
  expect(readdirSync(folder)).toEqual(["secret"]);
  expect(statSync(file).mode & 0o777).toBe(0o600);
});

test("what was there stays when the writing fails", async () => {
  const file = join(folder, "secret");
  await writeWholeFile(file, "first");
  await expect(writeWholeFile(join(folder, "missing", "secret"), "second")).rejects.toThrow("ENOENT");
  expect(readFileSync(file, "utf8")).toBe("first");
});
