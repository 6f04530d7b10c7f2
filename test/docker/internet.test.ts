/** Workers in a network that leads to the world, behind the firewall that ships for it. */
import { execFileSync } from "node:child_process";
import { createServer, type Server } from "node:net";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createLogger } from "../../services/platform/log.js";
import { DockerRuntime } from "../../services/scheduler/runtime/docker.js";
import { WorkerRecorder } from "../contract/container_runtime.contract.js";
import { WAIT } from "../contract/runtime.contract.js";
import { BEYOND_ADDRESSES, BEYOND_PORT, openBeyond } from "../harness/beyond.js";
import { startEngine, type TestEngine } from "../harness/docker.js";
import { buildTestWorker, TEST_WORKER_IMAGE } from "../harness/test_worker.js";

const NETWORK = "multinode-open";
/** As docker-compose.yml and the firewall have them. */
const SUBNET = "172.31.240.0/20";
const MACHINE = "172.31.240.1";
const FIREWALL = fileURLToPath(new URL("../../deploy/firewall/workers.nft", import.meta.url));
const [PUBLIC, METADATA, PRIVATE] = BEYOND_ADDRESSES;

let engine: TestEngine;
let closeBeyond: () => Promise<void>;
const servers: Server[] = [];

beforeAll(async () => {
  engine = await startEngine();
  await buildTestWorker(engine);
  await engine.docker.createNetwork({
    Name: NETWORK,
    Driver: "bridge",
    IPAM: { Driver: "default", Config: [{ Subnet: SUBNET, Gateway: MACHINE }] },
    Options: { "com.docker.network.bridge.enable_icc": "false" },
  });
  closeBeyond = await openBeyond();
  // What worker-gate offers, and something else that the machine opens.
  for (const port of [7_421, 7_500]) servers.push(createServer((socket) => socket.end()).listen(port, "0.0.0.0"));
}, 120_000);

afterAll(async () => {
  for (const server of servers) server.close();
  execFileSync("nft", ["flush", "ruleset"]);
  await closeBeyond();
  await engine.stop();
}, 60_000);

/** What workers that ask these name servers say of each address. */
async function reach(nameServers: readonly string[], addresses: readonly string[]) {
  const runtime = new DockerRuntime({
    socketPath: engine.socketPath,
    installationId: "open",
    schedulerId: "sch-1",
    image: TEST_WORKER_IMAGE,
    network: NETWORK,
    nameServers,
    readyNetworks: 0,
    log: createLogger("test", "silent"),
  });
  const workers = new WorkerRecorder(runtime);
  try {
    const said = addresses.map(async (address, i) => {
      await workers.start(`connects to ${address}`, `wrk-${i}`);
      const words = await vi.waitFor(() => {
        const last = workers.printed(`wrk-${i}`).at(-1);
        expect(last).toMatch(/reach/);
        return last;
      }, WAIT);
      return [address, words];
    });
    return Object.fromEntries(await Promise.all(said)) as Record<string, string>;
  } finally {
    await runtime.close();
  }
}

describe("a worker whose network leads to the world", () => {
  const all = [
    `${PUBLIC}:${BEYOND_PORT}`,
    `world.example:${BEYOND_PORT}`,
    `${METADATA}:${BEYOND_PORT}`,
    `${PRIVATE}:${BEYOND_PORT}`,
    `${MACHINE}:7421`,
    `${MACHINE}:7500`,
    "192.0.2.254:7500",
  ];

  it("reaches the world by its names, and without the firewall all that the machine does", async () => {
    expect(await reach([PUBLIC], all)).toEqual(Object.fromEntries(all.map((address) => [address, "reached"])));
  });

  it("reaches, behind the firewall, public addresses, name servers, and of the machine its doors for workers", async () => {
    execFileSync("nft", ["-f", FIREWALL]);
    execFileSync("nft", ["-f", FIREWALL]); // as a second start does
    expect(await reach([PRIVATE], all)).toEqual({
      [`${PUBLIC}:${BEYOND_PORT}`]: "reached",
      [`world.example:${BEYOND_PORT}`]: "reached",
      [`${METADATA}:${BEYOND_PORT}`]: "unreachable: timeout",
      [`${PRIVATE}:${BEYOND_PORT}`]: "unreachable: timeout",
      [`${MACHINE}:7421`]: "reached",
      [`${MACHINE}:7500`]: "unreachable: timeout",
      "192.0.2.254:7500": "unreachable: timeout",
    });
  });

  it("knows no name where no name server is set", async () => {
    const name = `world.example:${BEYOND_PORT}`;
    expect(await reach([], [name])).toEqual({ [name]: "unreachable: EAI_AGAIN" });
  });
});
