/** Functions in containers, end to end: a server with the Docker runtime, on the image as a release has it. */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { DeployedProject } from "../harness/connected_target.js";
import { type DockerServer, startDockerServer } from "../harness/docker_server.js";

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

let server: DockerServer;
let project: DeployedProject;

beforeAll(async () => {
  server = await startDockerServer(2);
  project = await server.target.deploy({ "main.ts": MAIN });
}, 120_000);

afterAll(() => server.stop(), 60_000);

describe("a function in a container", () => {
  it("runs as nobody, in a file system that it cannot change, each time in another one", async () => {
    const where = project.fn<() => Promise<Record<string, unknown>>>("where");
    const [one, other] = await Promise.all([where.callRemote(), where.callRemote()]);
    expect(one).toMatchObject({ uid: 65_534, refusals: ["EROFS", "EROFS", "EROFS"] });
    expect(String(one["folder"])).toMatch(/^\/code\/[0-9a-f]{64}$/);
    expect(one["environment"]).toEqual(["HOME", "PATH", "SSL_CERT_FILE"]);
    expect(other["hostname"]).not.toBe(one["hostname"]);
  });

  it("runs the same in a container that is started for it, where no spare is left", async () => {
    const where = project.fn<() => Promise<Record<string, unknown>>>("where");
    const all = await Promise.all(Array.from({ length: 6 }, () => where.callRemote()));
    for (const one of all) {
      expect(one).toMatchObject({ uid: 65_534, refusals: ["EROFS", "EROFS", "EROFS"] });
      expect(String(one["folder"])).toMatch(/^\/code\/[0-9a-f]{64}$/);
      expect(one["environment"]).toEqual(["HOME", "PATH", "SSL_CERT_FILE"]);
    }
    expect(new Set(all.map(({ hostname }) => hostname)).size).toBe(6);
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
