/** Functions on the nodes of a Swarm, end to end: the services with the Swarm runtime, on the image as a release has it. */
import { connect, createServer, type Server } from "node:net";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { WORKER_OVERHEAD_BYTES } from "../../services/scheduler/runtime/docker_profile.js";
import { workerOverlay } from "../../services/scheduler/runtime/swarm_profile.js";
import { connectTarget, type DeployedProject, type Target } from "../harness/connected_target.js";
import { WORKER_IMAGE } from "../harness/docker.js";
import { freePort } from "../harness/free_port.js";
import { type ServicesTarget, startServicesTarget } from "../harness/services_target.js";
import { GATE, HOST_ADDRESS, left, startSwarm, type TestSwarm } from "../harness/swarm.js";

const NETWORK = "multinode-test";
const WAIT = { timeout: 60_000, interval: 100 };
const MAIN = `
import { Multinode } from "multinode";
import { writeFileSync } from "node:fs";
import { hostname } from "node:os";
export const mn = new Multinode();
export const where = mn.function({ timeout: "60s" }, async () => {
  let refusal = "";
  try { writeFileSync("/mine", "x"); } catch (error) { refusal = (error as NodeJS.ErrnoException).code ?? ""; }
  writeFileSync("/tmp/mine", "x");
  return { uid: process.getuid?.(), environment: Object.keys(process.env).sort(), refusal, hostname: hostname() };
});
export const add = mn.function({ timeout: "60s" }, async (a: number, b: number) => a + b);
export const parent = mn.function({ timeout: "60s" }, async (n: number) => (await add.callRemote(n, 1)) as number);
export const eat = mn.function({ cpu: 1, memory: "64 MiB" }, async () => {
  const held: Buffer[] = [];
  for (;;) held.push(Buffer.alloc(32 << 20, 1));
});
export const forever = mn.function({ gracePeriod: "1s", memory: "32 MiB" }, async () => { for (;;) {} });
`;

let swarm: TestSwarm;
let services: ServicesTarget;
let apiForWorkers: Server;
let target: Target;
let project: DeployedProject;

beforeAll(async () => {
  swarm = await startSwarm();
  await Promise.all(swarm.nodes.map((node) => node.buildWorkerImage()));
  await swarm.manager.docker.createNetwork(workerOverlay(NETWORK, "test"));
  const [apiPort, workerPort] = [await freePort(), await freePort()];
  await swarm.openGate(NETWORK, [apiPort, workerPort]);
  const scheduler = {
    MULTINODE_RUNTIME: "swarm",
    MULTINODE_DOCKER_SOCKET: swarm.manager.socketPath,
    MULTINODE_WORKER_IMAGE: WORKER_IMAGE,
    MULTINODE_WORKER_NETWORK: NETWORK,
    MULTINODE_WORKER_LISTEN: `${HOST_ADDRESS}:${workerPort}`,
    MULTINODE_WORKER_URL: `http://${GATE}:${workerPort}`,
    MULTINODE_API_URL: `http://${GATE}:${apiPort}`,
    MULTINODE_INSECURE: "true",
  };
  services = await startServicesTarget(undefined, {
    env: (name): Record<string, string> => (name === "scheduler" ? scheduler : {}),
  });
  const { port } = new URL(services.apiUrl);
  apiForWorkers = createServer((from) => {
    const to = connect(Number(port), "127.0.0.1");
    for (const [one, other] of [[from, to] as const, [to, from] as const]) {
      one
        .on("error", () => other.destroy())
        .on("close", () => other.destroy())
        .pipe(other);
    }
  }).listen(apiPort, HOST_ADDRESS);
  target = connectTarget(services);
  project = await target.deploy({ "main.ts": MAIN });
}, 180_000);

afterAll(async () => {
  await target.close();
  await services.stop();
  apiForWorkers.close();
  try {
    await vi.waitFor(async () => expect(await left(swarm)).toEqual([]), WAIT);
  } finally {
    await swarm.stop();
  }
}, 120_000);

describe("a function on a Swarm", () => {
  it("runs as nobody, in a file system that it cannot change, each time in another one", async () => {
    const where = project.fn<() => Promise<Record<string, unknown>>>("where");
    const all = await Promise.all(Array.from({ length: 4 }, () => where.callRemote()));
    for (const one of all) {
      expect(one).toMatchObject({ uid: 65_534, refusal: "EROFS", environment: ["HOME", "PATH", "SSL_CERT_FILE"] });
    }
    expect(new Set(all.map(({ hostname }) => hostname)).size).toBe(all.length);
  });

  it("starts others, and hears their results", async () => {
    expect(await project.fn<(n: number) => Promise<number>>("parent").callRemote(41)).toBe(42);
  });

  it("that takes too much memory fails, and the error says so", async () => {
    await expect(project.fn("eat").callRemote()).rejects.toThrow(/OutOfMemoryError/);
  });

  it("that ends at no request is killed with its worker, which has the size of the function", async () => {
    const forever = project.fn("forever");
    const id = await forever.start();
    await vi.waitFor(async () => expect((await forever.get(id)).status).toBe("RUNNING"), WAIT);
    const sizes = (await swarm.manager.docker.listServices()).map(({ Spec }) => Spec?.TaskTemplate?.Resources?.Limits);
    const Limits = { MemoryBytes: (32 << 20) + WORKER_OVERHEAD_BYTES, NanoCPUs: 0.1e9 };
    expect(sizes).toContainEqual(expect.objectContaining(Limits));
    await forever.cancel(id);
    await vi.waitFor(
      async () => expect(await forever.get(id)).toMatchObject({ status: "CANCELLED", terminated: true }),
      WAIT,
    );
  });
});
