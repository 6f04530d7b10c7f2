/**
 * What code in a worker reaches: the public API and the schedulers' doors, and nothing else. What the token of its execution
 * opens there is told by e2e/credentials.test.ts and e2e/bad_credentials.test.ts, which run on this cluster too.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventServiceDefinition } from "../../gen/multinode/event/v1/event_service.pb.js";
import { DispatchServiceDefinition } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { TeardownServiceDefinition } from "../../gen/multinode/invocation/v1/teardown_service.pb.js";
import { CatalogServiceDefinition } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import { WorkerServiceDefinition } from "../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { KEY_SERVICES } from "../e2e/bad_requests.js";
import { BEYOND_ADDRESSES, BEYOND_PORT, openBeyond } from "../harness/beyond.js";
import { ClusterContainers } from "../harness/cluster_containers.js";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { untilState } from "../harness/observe.js";
import { pathOf, type RawService } from "../harness/raw_call.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { lookup } from "node:dns/promises";
  import { existsSync } from "node:fs";
  import { connect as connectHttp2 } from "node:http2";
  import { connect, createServer } from "node:net";
  import { networkInterfaces } from "node:os";
  import { Multinode } from "multinode";
  import { passGate } from "./gate.js";
  export const mn = new Multinode();
  const options = { cpu: 2, timeout: "55s" } as const;

  const attempt = (host: string, port: number, timeout: number) => new Promise<string>((resolve) => {
    const socket = connect({ host, port, timeout });
    const end = (outcome: string) => { socket.destroy(); resolve(outcome); };
    socket.once("connect", () => end("reached"));
    socket.once("timeout", () => end("timeout"));
    socket.once("error", (error: NodeJS.ErrnoException) => end(error.code ?? String(error)));
  });
  export const reach = mn.function(options, async (addresses: string[]) =>
    await Promise.all(addresses.map(async (address) => {
      const [host = "", port] = address.split(":");
      return address + " " + (await attempt(host, Number(port), 2_000));
    })));
  export const flood = mn.function(options, async (address: string, count: number) => {
    const session = connectHttp2("http://" + address);
    const outcomes: Record<string, number> = {};
    await Promise.all(Array.from({ length: count }, () => new Promise<void>((resolve) => {
      const headers = { ":method": "POST", ":path": "/grpc.health.v1.Health/Watch", "content-type": "application/grpc", te: "trailers" };
      const stream = session.request(headers);
      const end = (outcome: string) => { outcomes[outcome] = (outcomes[outcome] ?? 0) + 1; resolve(); };
      stream.once("response", (answer) => end(String(answer["grpc-status"] ?? "open")));
      stream.on("error", () => undefined);
      stream.end(Buffer.alloc(5));
    })));
    session.destroy();
    return outcomes;
  });
  export const listen = mn.function(options, async function* (gate: string) {
    const server = createServer((socket) => socket.end()).listen(7_000, "0.0.0.0");
    await new Promise((resolve) => server.once("listening", resolve));
    yield Object.values(networkInterfaces()).flat().filter((found) => !found?.internal).map((found) => found?.address);
    await passGate(gate);
    server.close();
  });
  export const scan = mn.function(options, async (host: string) => {
    const open: number[] = [];
    let next = 1;
    const look = async () => {
      for (let port = next++; port <= 65_535; port = next++)
        if ((await attempt(host, port, 5_000)) !== "ECONNREFUSED") open.push(port);
    };
    await Promise.all(Array.from({ length: 200 }, look));
    return open.sort((a, b) => a - b);
  });
  export const resolveNames = mn.function(options, async (names: string[]) =>
    await Promise.all(names.map((name) => lookup(name).then(({ address }) => address, () => "unknown"))));
  export const call = mn.function(options, async (url: string, paths: string[]) => {
    const storage = (globalThis as any)[Symbol.for("multinode.runningExecution")];
    const authorization = "Bearer " + storage.getStore().executionToken;
    const session = connectHttp2(url);
    const statuses: string[] = [];
    for (const path of paths) {
      const headers = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers", authorization };
      const stream = session.request(headers);
      stream.end(Buffer.alloc(5));
      let status: unknown;
      stream.on("response", (found) => { status ??= found["grpc-status"]; });
      stream.on("trailers", (found) => { status ??= found["grpc-status"]; });
      stream.resume();
      await new Promise((resolve, reject) => stream.once("close", resolve).once("error", reject));
      statuses.push(path + " " + status);
    }
    session.close();
    return statuses;
  });
  export const find = mn.function(options, (paths: string[]) => paths.filter((path) => existsSync(path)));
`;

/** Ports at this machine's end of the workers' network: the public API and the schedulers' doors. */
const DOORS = [7400, 7421, 7422];
const UNIMPLEMENTED = 12;
const TOO_MANY = 8;
const WORKERS = "multinode-workers";

const containers = new ClusterContainers();
const gates = await Gates.open();
const [machine = "", gatePort = ""] = gates.place().split(/[:/]/);
let target: Target;
let project: DeployedProject;
let closeBeyond: () => Promise<void>;
beforeAll(async () => {
  closeBeyond = await openBeyond();
  target = openTarget();
  project = await target.deploy({ "main.ts": MAIN, "gate.ts": GATE_SOURCE });
});
afterAll(async () => {
  await closeBeyond();
  gates.close();
  await target.close();
});

const pathsOf = (services: readonly RawService[]) =>
  services.flatMap((service) => Object.values(service.methods).map((method) => pathOf(service, method)));
const reach = (addresses: readonly string[]) =>
  project.fn<(addresses: readonly string[]) => string[]>("reach").callRemote(addresses);

describe("code in a worker", () => {
  test("finds no socket of the engine", async () => {
    const paths = ["/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock"];
    const found = await project.fn<(paths: string[]) => string[]>("find").callRemote([...paths, "/etc/hosts"]);
    expect(found).toEqual(["/etc/hosts"]);
  });

  test("has no way to the stores, the services, the metadata address and the world", async () => {
    const inner = "multinode_inner";
    const addresses = [
      `${await containers.addressOf("postgres", inner)}:5432`,
      `${await containers.addressOf("nats", inner)}:4222`,
      `${await containers.addressOf("registry", inner)}:7401`,
      `${await containers.addressOf("invocation-1", inner)}:7402`,
      `${await containers.addressOf("scheduler-1", inner)}:7403`,
      `${await containers.addressOf("scheduler-1", inner)}:7404`,
      `${await containers.addressOf("scheduler-1", inner)}:7405`,
      `${await containers.addressOf("gateway", inner)}:7410`,
      ...BEYOND_ADDRESSES.map((address) => `${address}:${BEYOND_PORT}`),
    ];
    // The machine itself reaches them.
    for (const address of addresses) {
      const [host = "", port] = address.split(":");
      const socket = connect({ host, port: Number(port) });
      await once(socket, "connect");
      socket.destroy();
    }
    const positive = `${machine}:${gatePort}`;
    expect(await reach([positive, ...addresses])).toEqual([
      `${positive} reached`,
      ...addresses.map((address) => `${address} timeout`),
    ]);
  });

  test("reaches of this machine what is for workers, and no other port", async () => {
    const open = await project.fn<(host: string) => number[]>("scan").callRemote(machine);
    expect(open).toEqual([...DOORS, Number(gatePort)].toSorted((a, b) => a - b));
  });

  test("reaches no other container of its network, be it a worker or the gateway", async () => {
    const fn = project.fn<(gate: string) => AsyncGenerator<string[]>>("listen");
    const gate = gates.place();
    const id = await fn.start(gate);
    const { result } = await untilState(fn, id, (state) => state.result !== undefined);
    const [neighbour = ""] = result as unknown as string[];
    // It does listen: the machine itself is let in.
    const socket = connect({ host: neighbour, port: 7_000 });
    await once(socket, "connect");
    socket.destroy();
    const gateway = await containers.addressOf("gateway", WORKERS);
    const addresses = [`${neighbour}:7000`, `${gateway}:7400`, `${gateway}:7410`];
    expect(await reach(addresses)).toEqual(addresses.map((address) => `${address} timeout`));
    gates.open(gate);
    await fn.awaitResult(id);
  });

  test("knows no service by its name", async () => {
    const names = ["postgres", "registry", "scheduler-1", "example.com"];
    const found = await project.fn<(names: string[]) => string[]>("resolveNames").callRemote(names);
    expect(found).toEqual(names.map(() => "unknown"));
  });

  test("has no more streams at a door than its share, so that the others have theirs", async () => {
    const flood = project.fn<(address: string, count: number) => Record<string, number>>("flood");
    const { open = 0, [TOO_MANY]: refused = 0, ...others } = await flood.callRemote(`${machine}:7400`, 300);
    expect(others).toEqual({});
    expect(open + refused).toBe(300);
    expect(open).toBeGreaterThan(0);
    expect(open).toBeLessThanOrEqual(32);
  });

  test("is served none of the methods by which services speak to each other", async () => {
    const call = project.fn<(url: string, paths: string[]) => string[]>("call");
    const inside = [
      CatalogServiceDefinition,
      DispatchServiceDefinition,
      TeardownServiceDefinition,
      EventServiceDefinition,
    ];
    const unserved = (paths: readonly string[]) => paths.map((path) => `${path} ${UNIMPLEMENTED}`);
    const notPublic = pathsOf([...inside, WorkerServiceDefinition]);
    expect(await call.callRemote(`http://${machine}:7400`, notPublic)).toEqual(unserved(notPublic));
    const notForWorkers = pathsOf([...inside, ...KEY_SERVICES]);
    for (const port of [7421, 7422])
      expect(await call.callRemote(`http://${machine}:${port}`, notForWorkers)).toEqual(unserved(notForWorkers));
  });
});
