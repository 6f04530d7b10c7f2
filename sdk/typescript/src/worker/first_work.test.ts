/** A worker that is started for an execution: a real process, as in a container. */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { createArchive } from "../bundle/archive.js";
import { encodeArguments } from "../values/codec.js";
import type { FirstWork } from "./first_work.js";
import { posted } from "./messages.js";
import { EXAMPLE_MAIN } from "./testing/example_main.js";
import { FakeScheduler } from "./testing/fake_scheduler.js";
import { GATED } from "./testing/gated_main.js";
import { buildWorker, spawnInContainer, type WorkerProcess } from "./testing/spawn_worker.js";

const WAIT = { timeout: 10_000, interval: 10 };
const FAR_MS = 60_000;
const MAIN = `${EXAMPLE_MAIN}
  import { appendFileSync, existsSync, readFileSync } from "node:fs";
  export const mark = mn.function(async (file) => { appendFileSync(file, "begun\\n"); await ms(300); return "marked"; });
  export const markAndExit = mn.function((file) => {
    process.stdout.write("last words");
    appendFileSync(file, "begun");
    process.exit(7);
  });
  export const snoop = mn.function((bootFile) => ({
    bootFile: existsSync(bootFile), environment: Object.keys(process.env), threads: readFileSync("/proc/self/cmdline", "latin1"),
  }));
`;
const { bytes, digest } = createArchive(new Map([["main.mjs", { data: Buffer.from(MAIN) }]]));

let workerFile: string;
let folder: string;
let scheduler: FakeScheduler;
let worker: WorkerProcess | undefined;

beforeAll(async () => {
  workerFile = await buildWorker();
});
afterAll(() => rm(dirname(workerFile), { recursive: true }));
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-first-work-"));
  scheduler = new FakeScheduler();
});
afterEach(async () => {
  worker?.kill();
  await worker?.exited;
  worker = undefined;
  scheduler.stop();
  await rm(folder, { recursive: true });
});

const configFile = () => join(folder, "config.json");

function workOf(functionName: string, args: readonly unknown[] = [], more: Partial<FirstWork> = {}): FirstWork {
  const { positional } = encodeArguments(args, undefined);
  return {
    notAfterMs: Date.now() + FAR_MS,
    apiUrl: "http://127.0.0.1:9",
    maxPayloadBytes: 250_000,
    memoryBytes: 1 << 28,
    bind: { projectName: "project", versionId: "ver-1", functionName, environment: { OWN: "yes" } },
    assign: {
      executionId: "e1",
      invocationId: "inv-of-e1",
      attemptNumber: 1,
      parentInvocationId: "",
      executionToken: "token-of-e1",
      arguments: { positional: positional && posted(positional), named: undefined },
    },
    bundle: { digest, archiveBase64: Buffer.from(bytes).toString("base64") },
    ...more,
  };
}

/** Work whose code holds its thread until the file "gate" exists. */
function gatedWork(): FirstWork {
  const work = workOf("mark", ["e1 "]);
  const environment = { GATE: join(folder, "gate"), MARKS: join(folder, "marks") };
  return {
    ...work,
    bind: { ...work.bind, environment },
    bundle: { digest: GATED.digest, archiveBase64: Buffer.from(GATED.bytes).toString("base64") },
  };
}

async function spawn(firstWork: FirstWork): Promise<WorkerProcess> {
  const config = { schedulerUrl: scheduler.url, bundleCacheDir: join(folder, "code") };
  worker = await spawnInContainer(workerFile, config, { configFile: configFile(), firstWork });
  return worker;
}

/** The address at which a scheduler will be. */
async function reserveAddress(): Promise<void> {
  await scheduler.start();
  scheduler.stop();
}

test("begins before there is a scheduler, and brings the execution with it", async () => {
  await reserveAddress();
  const file = join(folder, "marks");
  await spawn(workOf("mark", [file]));
  await vi.waitFor(() => expect(existsSync(file)).toBe(true), WAIT);
  // Whoever gives it once more, while it runs, changes nothing.
  scheduler.options = { acknowledgesEnds: false };
  await scheduler.start();
  scheduler.bind("mark", digest);
  scheduler.assign("e1", [file]);
  expect(await scheduler.outcome("e1")).toEqual({ value: "marked", interrupted: false });
  expect(scheduler.of("hello")[0]?.executions).toEqual([{ executionId: "e1", executionToken: "token-of-e1" }]);
  expect(await readFile(file, "utf8")).toBe("begun\n");
  expect(scheduler.authorizations).toHaveLength(1); // no bundle was asked for
});

test("says that it began, and what it yielded before anybody listened", async () => {
  await reserveAddress();
  await spawn(workOf("steps"));
  await scheduler.start();
  expect(await scheduler.outcome("e1")).toEqual({ value: "result", interrupted: false });
  expect(scheduler.yields("e1").at(-1)).toEqual([2, "two"]);
  const kinds = scheduler.events.map(({ $case }) => $case).filter((kind) => kind !== "status" && kind !== "logs");
  expect(kinds.slice(0, 2)).toEqual(["hello", "started"]);
});

test("that exits before there is a scheduler still sends what it printed", async () => {
  await reserveAddress();
  const file = join(folder, "marks");
  const { exited } = await spawn(workOf("markAndExit", [file]));
  await vi.waitFor(() => expect(existsSync(file)).toBe(true), WAIT);
  await scheduler.start();
  await scheduler.until(() => scheduler.lines("e1").some(({ text }) => text === "last words"), "the last words");
  expect(await exited).toEqual({ code: 7, signal: null });
});

test("is interrupted like any other", async () => {
  await scheduler.start();
  await spawn(workOf("cleanUp"));
  await scheduler.until(() => scheduler.lines("e1").length > 0, "the line");
  scheduler.cancel("e1");
  expect(await scheduler.outcome("e1")).toEqual({ value: "cleaned up", interrupted: true });
});

test("does not begin when it is interrupted while its code is loading", async () => {
  scheduler.options = { statusIntervalMs: 20 };
  await scheduler.start();
  await spawn(gatedWork());
  await scheduler.until(() => scheduler.lines("e1").length > 0, "the line");
  scheduler.cancel("e1");
  scheduler.assign("e2", ["e2 "]);
  const knowsBoth = () => scheduler.of("status").some(({ executionIds }) => executionIds.includes("e2"));
  await scheduler.until(knowsBoth, "a status after the interruption");
  await writeFile(join(folder, "gate"), "");
  expect(await scheduler.outcome("e2")).toEqual({ interrupted: false });
  expect(await scheduler.outcome("e1")).toMatchObject({ interrupted: true });
  expect(await readFile(join(folder, "marks"), "utf8")).toBe("e2 ");
});

test("does not begin when it comes late, and takes it then from the scheduler", async () => {
  await scheduler.start();
  const file = join(folder, "marks");
  await spawn(workOf("mark", [file], { notAfterMs: Date.now() - 1 }));
  await scheduler.until(() => scheduler.of("status").length > 0, "the connection");
  expect(scheduler.of("hello")[0]?.executions).toEqual([]);
  expect(existsSync(file)).toBe(false);
  scheduler.bundles.set(digest, bytes);
  scheduler.bind("mark", digest);
  scheduler.assign("e1", [file]);
  expect((await scheduler.outcome("e1")).value).toBe("marked");
});

test("does not begin when its code was loaded too late for that, and ends with its interruption", async () => {
  scheduler.options = { statusIntervalMs: 20 };
  await scheduler.start();
  const beginByMs = Date.now() + 3_000;
  await spawn({ ...gatedWork(), beginByMs });
  await scheduler.until(() => scheduler.lines("e1").length > 0, "the line of code that is loading");
  await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(beginByMs), WAIT);
  scheduler.assign("e2", ["e2 "]);
  const knowsBoth = () => scheduler.of("status").some(({ executionIds }) => executionIds.includes("e2"));
  await scheduler.until(knowsBoth, "a status with both");
  await writeFile(join(folder, "gate"), "");
  expect(await scheduler.outcome("e2")).toEqual({ interrupted: false });
  scheduler.cancel("e1");
  expect(await scheduler.outcome("e1")).toMatchObject({ interrupted: true });
  expect(await readFile(join(folder, "marks"), "utf8")).toBe("e2 ");
});

test("ends like any other where its code cannot be had", async () => {
  await scheduler.start();
  await spawn(workOf("mark", [], { bundle: { digest, archiveBase64: "bm8gYXJjaGl2ZQ==" } }));
  expect((await scheduler.outcome("e1")).error).toMatch(/^CodeIsUnavailableError: /);
});

test("finds nothing of the worker's own", async () => {
  await scheduler.start();
  await spawn(workOf("snoop", [configFile()]));
  const { value } = await scheduler.outcome("e1");
  expect(value).toMatchObject({ bootFile: false, environment: ["OWN"] });
  expect(JSON.stringify(value)).not.toContain("worker-token");
});

test("dies with its group when no scheduler comes in time, while user code keeps the thread", async () => {
  // Its fence is as high as that of a worker that has lost its scheduler: 20 s.
  scheduler.options = { fenceAfterMs: 300 };
  await scheduler.start();
  const { exited } = await spawn(workOf("spin"));
  await scheduler.until(() => scheduler.lines("e1").length > 0, "the line");
  scheduler.stop();
  expect(await exited).toEqual({ code: null, signal: "SIGKILL" });
});
