import { expect, test } from "vitest";
import { readEnvironmentFile } from "./environment_file.js";
import { findMain } from "./find_main.js";
import { makeProject } from "./testing/test_project.js";

test("the source is taken before what was compiled from it", async () => {
  await using project = await makeProject({ "main.js": "", "main.ts": "" });
  expect(await findMain(project.directory)).toEqual({ directory: project.directory, mainName: "main.ts" });
});

test("main.mjs does", async () => {
  await using project = await makeProject({ "main.mjs": "" });
  expect((await findMain(project.directory)).mainName).toBe("main.mjs");
});

test("a folder without a main, a file, and nothing at all are refused", async () => {
  await using project = await makeProject({ "other.ts": "" });
  await expect(findMain(project.directory)).rejects.toThrow("There is no main.ts in");
  await expect(findMain(`${project.directory}/other.ts`)).rejects.toThrow("is a file, not a folder");
  await expect(findMain(`${project.directory}/nothing`)).rejects.toThrow("does not exist");
});

test(".env is read, and may be missing", async () => {
  await using project = await makeProject({ ".env": '# comment\nA=1\nB="two words"\nexport C=3\n' });
  expect(await readEnvironmentFile(project.directory)).toEqual({ A: "1", B: "two words", C: "3" });
  await using empty = await makeProject({ "main.ts": "" });
  expect(await readEnvironmentFile(empty.directory)).toEqual({});
});

test("a bad name in .env, and too much of it, are refused", async () => {
  await using bad = await makeProject({ ".env": "MY-NAME=1" });
  await expect(readEnvironmentFile(bad.directory)).rejects.toThrow('"MY-NAME" is not a name');
  await using large = await makeProject({ ".env": `A=${"x".repeat(100_001)}` });
  await expect(readEnvironmentFile(large.directory)).rejects.toThrow("the limits are 500 and 100000");
});
