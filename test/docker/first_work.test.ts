/** Workers that are started with their first work, on an engine whose answers, or whose requests, are lost. */
import { randomBytes } from "node:crypto";
import { connect, createServer, type Server } from "node:net";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import type { FirstWork } from "../../sdk/typescript/src/worker/first_work.js";
import { createLogger } from "../../services/platform/log.js";
import { DockerRuntime } from "../../services/scheduler/runtime/docker.js";
import { LABELS, nameOf, WORKER_OVERHEAD_BYTES } from "../../services/scheduler/runtime/docker_profile.js";
import { CONTAINER_WAIT, WorkerRecorder } from "../contract/container_runtime.contract.js";
import { startEngine, type TestEngine } from "../harness/docker.js";
import { buildTestWorker, TEST_WORKER_IMAGE } from "../harness/test_worker.js";

const WORK: FirstWork = {
  notAfterMs: Number.MAX_SAFE_INTEGER,
  apiUrl: "",
  maxPayloadBytes: 1,
  memoryBytes: 1,
  bind: { projectName: "p", versionId: "v", functionName: "f", environment: {} },
  assign: {
    executionId: "exe-1",
    invocationId: "inv-1",
    attemptNumber: 1,
    parentInvocationId: "",
    executionToken: "secret",
    arguments: { positional: undefined, named: undefined },
  },
  bundle: { digest: "d", archiveBase64: "" },
};
const RESOURCES = { cpu: 1, memoryBytes: 64 << 20 };

let engine: TestEngine;
let proxy: Server;
let socketPath: string;
/** What is lost of the requests to come that start a container, one after another. */
let losses: ("request" | "answer" | "container" | "nothing")[] = [];
let asked = 0;
let runtime: DockerRuntime;
let workers: WorkerRecorder;
let installationId: string;

beforeAll(async () => {
  engine = await startEngine();
  await buildTestWorker(engine);
  socketPath = join(dirname(engine.socketPath), "lossy.sock");
  // A runtime ends its side of a worker's stream when it has said all, and listens on.
  proxy = createServer({ allowHalfOpen: true }, (client) => {
    const server = connect({ path: engine.socketPath, allowHalfOpen: true });
    let loss: (typeof losses)[number] = "nothing";
    const cut = () => {
      client.destroy();
      server.destroy();
    };
    client.on("data", (bytes) => {
      const started = /^POST \S*\/containers\/(\w+)\/start[ ?]/.exec(bytes.toString("latin1"))?.[1];
      if (started === undefined) server.write(bytes);
      else
        void nextLoss(started).then((next) => {
          loss = next;
          if (loss === "request") cut();
          else server.write(bytes);
        });
    });
    server.on("data", (bytes) => {
      if (loss === "answer") cut();
      else if (loss === "container") void removeWorkers().then(cut);
      else client.write(bytes);
    });
    client.on("end", () => server.end());
    server.on("end", () => client.end());
    client.on("error", cut).on("close", cut);
    server.on("error", cut).on("close", cut);
  }).listen(socketPath);
}, 120_000);

afterAll(async () => {
  proxy.close();
  await engine.stop();
}, 60_000);

beforeEach(() => {
  losses = [];
  asked = 0;
  installationId = randomBytes(6).toString("hex");
  runtime = new DockerRuntime({
    socketPath,
    installationId,
    schedulerId: "sch-1",
    image: TEST_WORKER_IMAGE,
    network: "multinode-test",
    readyNetworks: 1,
    log: createLogger("test", "silent"),
  });
  workers = new WorkerRecorder(runtime);
});
afterEach(async () => {
  await runtime.close();
  expect(await containers()).toEqual([]);
});

const containers = () =>
  engine.docker.listContainers({ all: true, filters: { label: [`${LABELS.installation}=${installationId}`] } });

/** What is lost of a request to start this container: only workers count. */
async function nextLoss(id: string): Promise<(typeof losses)[number]> {
  const { Labels } = (await engine.docker.getContainer(id).inspect()).Config;
  if (!(LABELS.worker in Labels)) return "nothing";
  asked += 1;
  return losses.shift() ?? "nothing";
}

async function removeWorkers(): Promise<void> {
  const all = await containers();
  for (const { Id } of all.filter(({ Labels }) => LABELS.worker in Labels))
    await engine.docker.getContainer(Id).remove({ force: true });
}

function start() {
  const boot = { schedulerUrl: "http://127.0.0.1:1", workerId: "wrk-1", workerToken: "any" };
  return runtime.start({ workerId: "wrk-1", boot, resources: RESOURCES, firstWork: WORK });
}

it.each([
  ["none", [], 1, 1],
  ["the answer", ["answer"], 1, 1],
  // What ran all the same would not be found: the next one is given its work when it comes.
  ["the request to start it", ["request"], 2, 0],
  ["a request, and then an answer", ["request", "answer"], 3, 0],
] as const)("is begun once at most when this is lost: %s (R6)", async (_, lost, attempts, begun) => {
  losses = [...lost];
  await start();
  await vi.waitFor(() => expect(workers.printed("wrk-1").length).toBeGreaterThan(begun), CONTAINER_WAIT);
  expect(workers.printed("wrk-1").filter((line) => line === "begins exe-1")).toHaveLength(begun);
  expect(asked).toBe(attempts);
  const info = await engine.docker.getContainer(nameOf(installationId, "wrk-1")).inspect();
  expect(info.HostConfig).toMatchObject({
    CpuPeriod: 100_000,
    CpuQuota: 100_000,
    Memory: RESOURCES.memoryBytes + WORKER_OVERHEAD_BYTES,
  });
  expect(JSON.stringify(info)).not.toContain("secret");
  await runtime.stop("wrk-1");
  expect(workers.exits).toHaveLength(1);
});

it("keeps the network of its holder when the answer is lost", async () => {
  const container = (id: string) => engine.docker.getContainer(id).inspect();
  // Until one is ready, workers are in the network itself.
  const mode = await vi.waitFor(async () => {
    await runtime.stop("wrk-1");
    losses = ["answer"];
    await start();
    const { NetworkMode = "" } = (await container(nameOf(installationId, "wrk-1"))).HostConfig;
    expect(NetworkMode).toMatch(/^container:/);
    return NetworkMode;
  }, CONTAINER_WAIT);
  expect((await container(mode.slice("container:".length))).State.Running).toBe(true);
});

it("is not begun again where the container is removed by somebody before the answer is lost", async () => {
  losses = ["container"];
  await expect(start()).rejects.toThrow("removed by somebody else");
  expect(asked).toBe(1);
});
