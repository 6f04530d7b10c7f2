/** An engine that is killed, restarted, or hangs: it delays, and nothing is lost or left. */
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createLogger } from "../../services/platform/log.js";
import { DockerRuntime } from "../../services/scheduler/runtime/docker.js";
import { LABELS } from "../../services/scheduler/runtime/docker_profile.js";
import type { WorkerExit } from "../../services/scheduler/runtime/runtime.js";
import { startEngine, type TestEngine } from "../harness/docker.js";
import { buildTestWorker, TEST_WORKER_IMAGE } from "../harness/test_worker.js";

/** An engine takes seconds to come back. */
const WAIT = { timeout: 40_000, interval: 50 };

let engine: TestEngine;
let runtime: DockerRuntime;
let exits: WorkerExit[];
let printed: string[];

async function open(liveRestore: boolean): Promise<void> {
  engine = await startEngine({ liveRestore });
  await buildTestWorker(engine);
  runtime = new DockerRuntime({
    socketPath: engine.socketPath,
    installationId: randomBytes(6).toString("hex"),
    schedulerId: "sch-1",
    image: TEST_WORKER_IMAGE,
    network: "multinode-test",
    readyNetworks: 1,
    compareIntervalMs: 300,
    callTimeoutMs: 2_000,
    log: createLogger("test", "silent"),
  });
  exits = [];
  printed = [];
  runtime.onExit((exit) => exits.push(exit));
  runtime.onOutput((workerId, _stream, line) => printed.push(`${workerId} ${line}`));
}

const start = async (workerId: string, workerToken = "any") =>
  await runtime.start({ workerId, boot: { schedulerUrl: "http://127.0.0.1:1", workerId, workerToken } });
const booted = (workerId: string) =>
  vi.waitFor(() => expect(printed.some((line) => line.startsWith(`${workerId} {`))).toBe(true), WAIT);
const left = async () => await engine.docker.listContainers({ all: true, filters: { label: [LABELS.installation] } });

afterEach(async () => {
  engine.resume();
  await runtime.close();
  try {
    expect(await left()).toEqual([]);
  } finally {
    await engine.stop();
  }
}, 120_000);

describe("an engine that keeps containers over its restart", () => {
  beforeEach(() => open(true), 120_000);

  it("is killed and comes back: workers live on, are heard again, and end when they are to", async () => {
    await start("wrk-1", "repeats");
    await booted("wrk-1");
    await engine.kill();
    const stopped = start("wrk-2"); // waits for the engine
    const limited = runtime.limit("wrk-1", { cpu: 0.5, memoryBytes: 1 << 26 });
    await engine.restart();
    await Promise.all([stopped, limited]);
    await booted("wrk-2");
    expect((await runtime.list()).toSorted()).toEqual(["wrk-1", "wrk-2"]);
    const heard = printed.length;
    await vi.waitFor(() => expect(printed.slice(heard).some((line) => line === "wrk-1 again")).toBe(true), WAIT);
    await runtime.stop("wrk-1");
    expect(exits).toEqual([{ workerId: "wrk-1", description: "was killed by SIGKILL", outOfMemory: false }]);
  });

  it("is away while a worker is to be stopped, and while one ends: both are told once it is back", async () => {
    await Promise.all([start("wrk-1"), start("wrk-2", "ends soon")]);
    await Promise.all([booted("wrk-1"), booted("wrk-2")]);
    await engine.kill();
    const stopped = runtime.stop("wrk-1");
    await expect(runtime.list()).rejects.toThrow("docker.sock");
    expect(exits).toEqual([]);
    await engine.restart();
    await stopped;
    await vi.waitFor(() => expect(exits.map(({ workerId }) => workerId).toSorted()).toEqual(["wrk-1", "wrk-2"]), WAIT);
    expect(await runtime.list()).toEqual([]);
  });

  it("hangs: every call has a bound, and what was asked for is done when it answers again", async () => {
    await start("wrk-1");
    await booted("wrk-1");
    await engine.pause();
    const begun = performance.now();
    await expect(runtime.list()).rejects.toThrow("given up");
    expect(performance.now() - begun).toBeLessThan(10_000);
    const started = start("wrk-2");
    const given = start("wrk-3");
    const givenUp = expect(given).rejects.toThrow("stopped before it had started");
    const stopped = Promise.all([runtime.stop("wrk-1"), runtime.stop("wrk-3")]);
    await expect(runtime.list()).rejects.toThrow("given up");
    engine.resume();
    await Promise.all([started, stopped, givenUp]);
    await booted("wrk-2");
    expect(exits.map(({ workerId }) => workerId)).toEqual(["wrk-1"]);
    await runtime.stop("wrk-2");
    // A creation that was given up on may still have been carried out: the list tells, and it can be stopped.
    for (const workerId of await runtime.list()) await runtime.stop(workerId);
  });
});

describe("an engine that ends its containers with itself", () => {
  beforeEach(() => open(false), 120_000);

  it("is killed and comes back: the ends of workers are told, and new ones start", async () => {
    await Promise.all([start("wrk-1"), start("wrk-2")]);
    await Promise.all([booted("wrk-1"), booted("wrk-2")]);
    await engine.kill();
    await engine.restart();
    await vi.waitFor(() => expect(exits.map(({ workerId }) => workerId).toSorted()).toEqual(["wrk-1", "wrk-2"]), WAIT);
    await start("wrk-3");
    await booted("wrk-3");
    expect(await runtime.list()).toEqual(["wrk-3"]);
  });
});
