/** Functions in containers, end to end: a server with the Docker runtime, on the image as a release has it. */
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type EmbeddedServer, startEmbedded } from "../../services/embedded/embedded.js";
import { createLogger } from "../../services/platform/log.js";
import { DockerRuntime } from "../../services/scheduler/runtime/docker.js";
import { LABELS, workerNetwork } from "../../services/scheduler/runtime/docker_profile.js";
import { connectTarget, type DeployedProject, type Target } from "../harness/connected_target.js";
import { startEngine, type TestEngine, WORKER_IMAGE } from "../harness/docker.js";

const NETWORK = "multinode-test";
const MAIN = `
import { Multinode } from "multinode";
import { readFileSync, writeFileSync } from "node:fs";
export const mn = new Multinode();
const options = { cpu: 1, memory: "64 MiB", timeout: "60s" };
export const where = mn.function(options, async () => {
  const refusals: string[] = [];
  for (const path of ["/code-of-mine", "/etc/passwd", "/opt/multinode/worker.cjs"]) {
    try { writeFileSync(path, "x"); } catch (error) { refusals.push((error as NodeJS.ErrnoException).code ?? ""); }
  }
  writeFileSync("/tmp/mine", "x");
  return { uid: process.getuid?.(), folder: process.cwd(), environment: Object.keys(process.env).sort(), refusals, hostname: readFileSync("/etc/hostname", "utf8") };
});
export const add = mn.function(options, async (a: number, b: number) => a + b);
export const parent = mn.function(options, async (n: number) => (await add.callRemote(n, 1)) as number);
export const eat = mn.function(options, async () => {
  const held: Buffer[] = [];
  for (;;) held.push(Buffer.alloc(32 << 20, 1));
});
export const prints = mn.function(options, async () => { console.log("from inside"); return 1; });
export const forever = mn.function({ ...options, gracePeriod: "1s" }, async () => { for (;;) {} });
`;

let engine: TestEngine;
let server: EmbeddedServer;
let target: Target;
let project: DeployedProject;
let dataDir: string;

beforeAll(async () => {
  engine = await startEngine();
  await engine.buildWorkerImage();
  const installationId = randomBytes(6).toString("hex");
  await engine.docker.createNetwork(workerNetwork(NETWORK, installationId));
  const network = await engine.docker.getNetwork(NETWORK).inspect();
  const gateway = (network.IPAM?.Config ?? [])[0]?.["Gateway"] ?? "";
  dataDir = await mkdtemp(join(tmpdir(), "multinode-docker-functions-"));
  const log = createLogger("test", "silent");
  const runtime = new DockerRuntime({
    socketPath: engine.socketPath,
    installationId,
    schedulerId: "sch-1",
    image: WORKER_IMAGE,
    network: NETWORK,
    log,
  });
  server = await startEmbedded({ dataDir, host: gateway, port: 0, insecure: true, runtime, spareWorkers: 2 });
  const apiKey = (await readFile(server.apiKeyFile, "utf8")).trim();
  target = connectTarget({ apiUrl: server.url, apiKey });
  project = await target.deploy({ "main.ts": MAIN });
}, 120_000);

afterAll(async () => {
  await target.close();
  await server.stop();
  const filters = { label: [LABELS.installation] };
  try {
    expect(await engine.docker.listContainers({ all: true, filters })).toEqual([]);
  } finally {
    await engine.stop();
  }
  await rm(dataDir, { recursive: true, force: true });
}, 60_000);

describe("a function in a container", () => {
  it("runs as nobody, in a file system that it cannot change, each time in another one", async () => {
    const where = project.fn<() => Promise<Record<string, unknown>>>("where");
    const [one, other] = await Promise.all([where.callRemote(), where.callRemote()]);
    expect(one).toMatchObject({ uid: 65_534, refusals: ["EROFS", "EROFS", "EROFS"] });
    expect(String(one["folder"])).toMatch(/^\/code\/[0-9a-f]{64}$/);
    expect(one["environment"]).toEqual(["HOME", "PATH", "SSL_CERT_FILE"]);
    expect(other["hostname"]).not.toBe(one["hostname"]);
  });

  it("starts others, and is heard", async () => {
    expect(await project.fn<(n: number) => Promise<number>>("parent").callRemote(41)).toBe(42);
    const results: number[] = [];
    for await (const sum of project.fn<(a: number, b: number) => Promise<number>>("add").starmap([
      [1, 2],
      [3, 4],
      [5, 6],
    ]))
      results.push(sum);
    expect(results).toEqual([3, 7, 11]);
  });

  it("that takes too much memory fails, and the error says so", async () => {
    await expect(project.fn("eat").callRemote()).rejects.toThrow(/OutOfMemoryError/);
  });

  it("that ends at no request is killed, and its container is gone", async () => {
    const forever = project.fn("forever");
    const id = await forever.start();
    await vi.waitFor(async () => expect((await forever.get(id)).status).toBe("RUNNING"), {
      timeout: 20_000,
      interval: 50,
    });
    await forever.cancel(id);
    await vi.waitFor(
      async () => expect(await forever.get(id)).toMatchObject({ status: "CANCELLED", terminated: true }),
      { timeout: 20_000, interval: 50 },
    );
  });
});
