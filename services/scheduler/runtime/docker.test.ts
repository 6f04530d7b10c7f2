/** The Docker runtime on an engine that is a server of the test's. `test/docker` has what needs a real one. */
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createLogger } from "../../platform/log.js";
import { DockerRuntime } from "./docker.js";

const WAIT = { timeout: 5_000, interval: 5 };
let folder: string;
let runtime: DockerRuntime;
let asked: string[];
let answer: (path: string) => { status: number; body: unknown };
const server = createServer(({ url = "" }, response: ServerResponse) => {
  const { pathname } = new URL(url, "http://engine");
  if (pathname === "/events") {
    response.writeHead(200).flushHeaders(); // there are none
    return;
  }
  asked.push(pathname);
  const { status, body } = answer(pathname);
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-engine-"));
  asked = [];
  await once(server.listen(join(folder, "engine.sock")), "listening");
});
afterEach(async () => {
  await runtime.close();
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true });
});

it("compares its containers again when an engine that was away is back, whether a worker is started or not", async () => {
  answer = () => ({ status: 503, body: { message: "not now" } });
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
  await vi.waitFor(() => expect(asked).toContain("/networks/network"), WAIT);
  answer = (path) => ({ status: 200, body: path === "/containers/json" ? [] : {} });
  await vi.waitFor(() => expect(asked).toContain("/containers/json"), WAIT);
});
