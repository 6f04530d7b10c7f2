/** What a worker's boot must not load: each of these takes milliseconds of every execution that has a fresh worker. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildWorker } from "../../../../scripts/worker_bundle.mjs";

const NEVER = ["node:http2", "node:tls", "node:https"];
const LATE = ["node:crypto", "node:zlib", "node:fs/promises"];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-bundle-"));
  await buildWorker({ source: fileURLToPath(new URL("..", import.meta.url)), outdir: folder });
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

test.each(["worker.cjs", "worker_runner.cjs", "worker_supervisor.cjs"])("%s loads only what it needs", async (name) => {
  const program = await readFile(join(folder, name), "utf8");
  const loads = [...program.matchAll(/(=>)?require\("([^"]+)"\)/g)];
  expect(loads.length).toBeGreaterThan(2);
  const loaded = loads.map(([, isLate, module]) => `${module}${isLate === undefined ? "" : ", late"}`);
  const unwanted = new Set([...NEVER.flatMap((module) => [module, `${module}, late`]), ...LATE]);
  expect(loaded.filter((each) => unwanted.has(each))).toEqual([]);
});
