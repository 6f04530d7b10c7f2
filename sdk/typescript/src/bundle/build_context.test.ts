import { chmod, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { unzipSync } from "fflate";
import { expect, test } from "vitest";
import { LIMITS } from "../protocol/limits.js";
import { archiveContext } from "./build_context.js";
import { checkArchive } from "./check_archive.js";
import { makeProject } from "./testing/test_project.js";

const DOCKERFILE = { Dockerfile: "FROM scratch" };

async function pathsOf(files: Record<string, unknown>): Promise<string[]> {
  await using project = await makeProject(files);
  const archive = await archiveContext(project.directory);
  return Object.keys(unzipSync(archive?.bytes ?? new Uint8Array()));
}

test("a folder without a Dockerfile has none", async () => {
  await using project = await makeProject({ "main.ts": "" });
  expect(await archiveContext(project.directory)).toBeUndefined();
  await mkdir(join(project.directory, "Dockerfile"));
  expect(await archiveContext(project.directory)).toBeUndefined();
});

test("all files are in it but packages, the history and the secrets", async () => {
  const files = {
    ...DOCKERFILE,
    ".env": "TOKEN=hush",
    ".git/HEAD": "",
    "node_modules/a/index.js": "",
    "web/node_modules/b/index.js": "",
    "main.ts": "",
    "data/deep/words.txt": "",
    "data/.env": "",
  };
  expect(await pathsOf(files)).toEqual(["Dockerfile", "data/.env", "data/deep/words.txt", "main.ts"]);
});

test(".dockerignore is kept to, with its exceptions, and cannot leave the Dockerfile out or bring .env in", async () => {
  const ignore = ["# comment", "*", "!tools", "!data/keep/*.txt", "!node_modules/a", "tools/**/*.log", "!.env"];
  const files = {
    ...DOCKERFILE,
    ".env": "TOKEN=hush",
    ".dockerignore": ignore.join("\n"),
    "main.ts": "",
    "tools/run.sh": "",
    "tools/deep/a.log": "",
    "data/keep/a.txt": "",
    "data/keep/a.bin": "",
    "data/other/a.txt": "",
    "node_modules/a/index.js": "",
    "node_modules/b/index.js": "",
  };
  expect(await pathsOf(files)).toEqual(["Dockerfile", "data/keep/a.txt", "node_modules/a/index.js", "tools/run.sh"]);
});

test("it is the same for the same files, another for others, and keeps what can be run", async () => {
  await using project = await makeProject({ ...DOCKERFILE, "run.sh": "echo", ".env": "A=1" });
  const first = await archiveContext(project.directory);
  await writeFile(join(project.directory, ".env"), "A=2");
  expect((await archiveContext(project.directory))?.digest).toBe(first?.digest);
  await chmod(join(project.directory, "run.sh"), 0o755);
  const second = await archiveContext(project.directory);
  expect(second?.digest).not.toBe(first?.digest);
  const entries = checkArchive(second?.bytes ?? new Uint8Array());
  expect(entries.map(({ path, isExecutable }) => [path, isExecutable])).toEqual([
    ["Dockerfile", false],
    ["run.sh", true],
  ]);
});

test("links are refused, unless they are left out", async () => {
  await using project = await makeProject({ ...DOCKERFILE, "data/a.txt": "" });
  const link = join(project.directory, "data/passwd");
  await symlink("/etc/passwd", link);
  await expect(archiveContext(project.directory)).rejects.toThrow("data/passwd is a link");
  await writeFile(join(project.directory, ".dockerignore"), "data/passwd");
  expect(await archiveContext(project.directory)).toBeDefined();
  await rm(link);
  expect(await archiveContext(project.directory)).toBeDefined();
});

test("too much is refused before it is read, and says what to do", async () => {
  await using project = await makeProject(DOCKERFILE);
  const { truncate } = await import("node:fs/promises");
  await writeFile(join(project.directory, "large"), "");
  await truncate(join(project.directory, "large"), LIMITS.bundleUnpackedBytes);
  await expect(archiveContext(project.directory)).rejects.toMatchObject({
    message: `The folder is too large to build an image of: the limits are ${LIMITS.bundleUnpackedBytes} bytes and 20000 files.`,
    hint: "Name what the Dockerfile does not need in .dockerignore.",
  });
  await truncate(join(project.directory, "large"), 20_000_000);
  await expect(archiveContext(project.directory)).rejects.toThrow("unpacks to more than 100 times its size");
});
