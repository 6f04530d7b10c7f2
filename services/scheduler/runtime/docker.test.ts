/** The Docker runtime on an engine that is a server of the test's. `test/docker` has what needs a real one. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createLogger } from "../../platform/log.js";
import { DockerRuntime } from "./docker.js";

const WAIT = { timeout: 5_000, interval: 5 };
let folder: string;
let runtime: DockerRuntime;
let asked: string[];
let answer: (path: string, method: string) => { status: number; body: unknown };
const server = createServer(({ url = "", method = "" }, response: ServerResponse) => {
  const { pathname } = new URL(url, "http://engine");
  if (pathname === "/events") {
    response.writeHead(200).flushHeaders(); // there are none
    return;
  }
  asked.push(pathname);
  const { status, body } = answer(pathname, method);
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
});

/** Streams of what workers print, as the engine has them. They stay open. */
let attached: Socket[];
server.on("upgrade", (_request, socket: Socket) => {
  attached.push(socket);
  socket.on("error", () => {}); // whoever read it has gone
  socket.resume().write("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-engine-"));
  asked = [];
  attached = [];
  await once(server.listen(join(folder, "engine.sock")), "listening");
});
afterEach(async () => {
  await runtime.close();
  server.closeAllConnections();
  for (const socket of attached) socket.destroy();
  server.close();
  await rm(folder, { recursive: true });
});

function open(): void {
  runtime = new DockerRuntime({
    socketPath: join(folder, "engine.sock"),
    installationId: "test",
    schedulerId: "sch-1",
    image: "image",
    network: "network",
    readyNetworks: 0,
    compareIntervalMs: 5,
    log: createLogger("test", "silent"),
  });
}

it("compares its containers again when an engine that was away is back, whether a worker is started or not", async () => {
  answer = () => ({ status: 503, body: { message: "not now" } });
  open();
  await vi.waitFor(() => expect(asked).toContain("/networks/network"), WAIT);
  answer = (path) => ({ status: 200, body: path === "/containers/json" ? [] : {} });
  await vi.waitFor(() => expect(asked).toContain("/containers/json"), WAIT);
});

const start = () =>
  runtime.start({ workerId: "wrk-1", boot: { schedulerUrl: "http://s", workerId: "wrk-1", workerToken: "t" } });
const OUTAGE = { status: 503, body: { message: "not now" } };
const GONE = { status: 404, body: { message: "no such container" } };

it("removes what a broken start left, and not what came after it, when the engine is late to carry that out", async () => {
  const containers = new Set<string>();
  let creations = 0;
  let lateRemoval: string | undefined;
  answer = (path, method) => {
    const [, , name = "", action] = path.split("/");
    const id = [...containers].find((each) => name === each || name === "mn-test-wrk-1");
    if (path === "/containers/json") return { status: 200, body: [] };
    if (path.startsWith("/networks/")) return { status: 200, body: {} };
    if (name === "create") {
      creations += 1;
      containers.add(`c${creations}`);
      return { status: 200, body: { Id: `c${creations}` } };
    }
    if (id === undefined) return GONE;
    if (method === "DELETE") {
      containers.delete(id);
      if (lateRemoval !== undefined) return { status: 204, body: "" };
      lateRemoval = name; // the engine hangs in the middle of it
      return OUTAGE;
    }
    if (action !== "start")
      return { status: 200, body: { Id: id, Name: "/mn-test-wrk-1", State: { Status: "created" } } };
    if (lateRemoval === undefined) return OUTAGE;
    if (lateRemoval === id || lateRemoval === "mn-test-wrk-1") containers.delete(id);
    return containers.has(id) ? { status: 200, body: {} } : GONE;
  };
  open();
  expect(await start()).toContain("c2");
  expect(creations).toBe(2);
});

it("begins anew when the container that a broken start left goes while the next one goes on with it", async () => {
  let starts = 0;
  answer = (path) => {
    if (path === "/containers/json") return { status: 200, body: [] };
    if (path === "/containers/create")
      return starts === 1 ? { status: 409, body: {} } : { status: 200, body: { Id: "c1" } };
    if (!path.endsWith("/start")) return path.startsWith("/networks/") ? { status: 200, body: {} } : GONE;
    starts += 1;
    return [OUTAGE, GONE, { status: 200, body: {} }][starts - 1] ?? GONE;
  };
  open();
  await start();
  expect(starts).toBe(3);
});

it("leaves a worker that goes on elsewhere, and with it the stream of what it prints, when it is closed", async () => {
  const answers: Record<string, unknown> = { "/containers/create": { Id: "c1" }, "/containers/json": [] };
  answer = (path) => ({ status: 200, body: answers[path] ?? { State: { Status: "running" } } });
  open();
  await start();
  expect(attached).toHaveLength(1);
  expect(attached[0]?.destroyed).toBe(false);
  runtime.release("wrk-1");
  await runtime.close();
  await vi.waitFor(() => {
    attached[0]?.write(Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])); // fails where nobody reads
    expect(attached[0]?.destroyed).toBe(true);
  }, WAIT);
});
