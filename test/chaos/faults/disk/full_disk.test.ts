import { execFileSync, spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MultinodeError, ResourceExhausted } from "../../../../sdk/typescript/src/errors.js";
import type { FunctionHandle } from "../../../../sdk/typescript/src/function_handle.js";
import { connectTarget } from "../../../harness/connected_target.js";
import { until } from "../../processes.js";
import { RestartableServer } from "../../server.js";

const DISK_MIB = 48;
/** What somebody removes to make room: as much as SQLite needs to move its write-ahead log into the database. */
const BALLAST_BYTES = 20_000_000;
const INPUT = "x".repeat(100_000);
/** Longest time in which workers end by themselves after their server. Until then the disk is in use. */
const GONE_BOUND_MS = 30_000;
/** More than fill the disk. */
const MOST_STARTS = 1_000;

let folder: string;
let disk: string;
let server: RestartableServer;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-faults-"));
  disk = join(folder, "disk");
  await mkdir(disk);
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_MIB}m`, "tmpfs", disk]);
  server = new RestartableServer(join(disk, "data"));
});
afterEach(async () => {
  await server.kill();
  expect(await until(isUnmounted, GONE_BOUND_MS)).toBe(true);
  await rm(folder, { recursive: true, force: true });
});

test("a full disk refuses starts and loses none that was acknowledged", async () => {
  const address = await server.start();
  await using target = connectTarget(address);
  const project = await target.deploy({ "main.ts": TASKS });
  const waits = project.fn<(text: string) => number>("waits");
  const ballast = join(disk, "ballast");
  await writeFile(ballast, Buffer.alloc(BALLAST_BYTES));

  const acknowledged: string[] = [];
  const refusal = await startUntilRefused(waits, acknowledged);
  expect(refusal).toBeInstanceOf(ResourceExhausted);
  expect(refusal).toMatchObject({ metadata: { limit: "disk" } });
  expect(acknowledged.length).toBeGreaterThan(20);
  // The room that the refused one would have taken.
  expect(await startUntilRefused(waits, acknowledged, "x")).toBeInstanceOf(ResourceExhausted);

  // It goes on answering, and has everything, also after a crash and a start on the disk, on which not a byte is free.
  await expectAll(waits, acknowledged);
  await server.kill();
  const rest = join(disk, "rest");
  await expect(writeFile(rest, Buffer.alloc(DISK_MIB << 20))).rejects.toThrow("ENOSPC");
  await server.start();
  await expectAll(waits, acknowledged);
  expect((await listAll(waits)).toSorted()).toEqual(acknowledged.toSorted());

  // With room again it works again, without another start.
  await Promise.all([rm(ballast), rm(rest)]);
  expect(await project.fn<(n: number) => number>("double").callRemote(4)).toBe(8);
});

function isUnmounted(): boolean {
  return spawnSync("umount", [disk]).status === 0;
}

async function startUntilRefused(
  fn: FunctionHandle<[string], number>,
  acknowledged: string[],
  input = INPUT,
): Promise<unknown> {
  for (let i = 0; i < MOST_STARTS; i++) {
    try {
      acknowledged.push(await fn.start(input));
    } catch (error) {
      if (error instanceof MultinodeError) return error;
      throw error;
    }
  }
  const { bavail, bsize } = await statfs(disk);
  throw new Error(`${MOST_STARTS} starts were acknowledged, and ${bavail * bsize} bytes are free`);
}

async function expectAll(fn: FunctionHandle<[string], number>, ids: readonly string[]): Promise<void> {
  const found = await Promise.all(ids.map((id) => fn.get(id)));
  expect(found.map(({ id }) => id)).toEqual(ids);
}

async function listAll(fn: FunctionHandle<[string], number>): Promise<string[]> {
  const ids: string[] = [];
  let offset: string | undefined;
  do {
    const page = await fn.list({ offset, pageSize: 1_000 });
    ids.push(...page.invocationIds);
    offset = page.offset;
  } while (offset !== undefined);
  return ids;
}

const TASKS = `import { setTimeout as delay } from "node:timers/promises";
import { Multinode } from "multinode";
export const mn = new Multinode();
export const waits = mn.function({ maxConcurrency: 1, maxRetries: 50 }, async (text: string) => {
  await delay(3_600_000);
  return text.length;
});
export const double = mn.function((n: number) => n * 2);
`;
