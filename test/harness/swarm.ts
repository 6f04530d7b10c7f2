/**
 * A Docker Swarm of two nodes on this machine: two engines, each in a network namespace of its own as on two machines,
 * joined by a bridge that the tests reach them by.
 */
import { execFileSync } from "node:child_process";
import { vi } from "vitest";
import { type EngineOptions, startEngine, type TestEngine } from "./docker.js";

/** The tests' end of the bridge. */
export const HOST_ADDRESS = "10.213.0.1";
/** The name of the gate in the network of the workers. */
export const GATE = "gate";
const NODE_ADDRESSES = ["10.213.0.2", "10.213.0.3"] as const;
/** Networks of the Swarm, where none of the machine's can be. */
const ADDRESS_POOL = "10.214.0.0/16";
const BRIDGE = "br-mn-swarm";
const SWARM_PORT = 2377;
/** How often nodes say that they live; the default is 5 s. */
const HEARTBEAT_NS = 1e9;
const GATE_IMAGE = "multinode/node:24";
const WAIT = { timeout: 120_000, interval: 100 };

export interface TestSwarm {
  readonly manager: TestEngine;
  readonly other: TestEngine;
  readonly nodes: readonly [TestEngine, TestEngine];
  /** Forwards what workers in this network send to these ports of the host `GATE` to the same ports of HOST_ADDRESS. */
  openGate(network: string, ports: readonly number[]): Promise<void>;
  /** Cuts the second node off, and joins it again. Each resolves when the manager has seen it. */
  cut(): Promise<void>;
  heal(): Promise<void>;
  stop(): Promise<void>;
}

export async function startSwarm(): Promise<TestSwarm> {
  const options: EngineOptions = { liveRestore: false, ownNetwork: true };
  const [manager, other] = [await startEngine(options), await startEngine(options)];
  const nodes = [manager, other] as const;
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.docker.swarmLeave({ force: true }).catch(() => {})));
    await Promise.all(nodes.map((node) => node.stop()));
    execFileSync("ip", ["link", "del", BRIDGE]);
  };
  try {
    join(nodes);
    const [address, otherAddress] = NODE_ADDRESSES;
    await manager.docker.swarmInit({
      AdvertiseAddr: address,
      ListenAddr: `${address}:${SWARM_PORT}`,
      DefaultAddrPool: [ADDRESS_POOL],
      SubnetSize: 24,
      Spec: { Dispatcher: { HeartbeatPeriod: HEARTBEAT_NS } },
    });
    const { JoinTokens } = (await manager.docker.swarmInspect()) as { JoinTokens: { Worker: string } };
    await other.docker.swarmJoin({
      AdvertiseAddr: otherAddress,
      ListenAddr: `${otherAddress}:${SWARM_PORT}`,
      RemoteAddrs: [`${address}:${SWARM_PORT}`],
      JoinToken: JoinTokens.Worker,
    });
    await otherIs(manager, "ready");
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    manager,
    other,
    nodes,
    openGate: (network, ports) => openGate(manager, network, ports),
    cut: async () => {
      ip(`link set ${vethOf(1)} down`);
      await otherIs(manager, "down");
    },
    heal: async () => {
      ip(`link set ${vethOf(1)} up`);
      await otherIs(manager, "ready");
    },
    stop,
  };
}

/** The containers and volumes of both nodes, and the services and secrets: what must not be left. */
export async function left({ manager, nodes }: TestSwarm): Promise<string[]> {
  const { docker } = manager;
  const names = (await Promise.all([docker.listServices(), docker.listSecrets()])).flat().map(({ Spec }) => Spec?.Name);
  const onNodes = nodes.map(async (node) => {
    const containers = await node.docker.listContainers({ all: true });
    const { Volumes } = await node.docker.listVolumes();
    const own = containers.flatMap(({ Names, Image }) => (Image === GATE_IMAGE ? [] : Names));
    return [...own, ...(Volumes ?? []).map(({ Name }) => Name)];
  });
  return [...names.map(String), ...(await Promise.all(onNodes)).flat()];
}

/** Gives both nodes an address on one bridge. */
function join(nodes: readonly TestEngine[]): void {
  ip(`link add ${BRIDGE} type bridge`);
  ip(`addr add ${HOST_ADDRESS}/24 dev ${BRIDGE}`);
  ip(`link set ${BRIDGE} up`);
  for (const [i, { networkPid = 0 }] of nodes.entries()) {
    ip(`link add ${vethOf(i)} master ${BRIDGE} type veth peer name eth0 netns ${networkPid}`);
    ip(`link set ${vethOf(i)} up`);
    const inside = (command: string) =>
      execFileSync("nsenter", [`--net=/proc/${networkPid}/ns/net`, ...words(command)]);
    inside("ip link set lo up");
    inside(`ip addr add ${NODE_ADDRESSES[i]}/24 dev eth0`);
    inside("ip link set eth0 up");
  }
}

async function otherIs(manager: TestEngine, state: string): Promise<void> {
  await vi.waitFor(async () => {
    const nodes = (await manager.docker.listNodes()) as { ManagerStatus?: object; Status: { State: string } }[];
    const states = nodes.flatMap(({ ManagerStatus, Status }) => (ManagerStatus === undefined ? Status.State : []));
    if (states[0] !== state) throw new Error(`the second node is ${states[0]}, not ${state}`);
  }, WAIT);
}

/** As a proxy does it in a cluster: a container in the workers' network and in one that leads out of the node. */
async function openGate({ docker }: TestEngine, network: string, ports: readonly number[]): Promise<void> {
  const program = `
    const net = require("node:net");
    const pass = (a, b) => a.on("error", () => b.destroy()).on("close", () => b.destroy()).pipe(b);
    for (const port of ${JSON.stringify(ports)}) net.createServer((from) => {
      const to = net.connect(port, "${HOST_ADDRESS}");
      pass(from, to);
      pass(to, from);
    }).listen(port);`;
  await docker.createNetwork({ Name: "outer", Labels: { gate: GATE } });
  const gate = await docker.createContainer({
    name: GATE,
    Image: GATE_IMAGE,
    Cmd: ["node", "-e", program],
    HostConfig: { NetworkMode: "outer", Init: true },
  });
  await docker.getNetwork(network).connect({ Container: gate.id });
  await gate.start();
}

function vethOf(node: number): string {
  return `veth-mn-${node}`;
}

function ip(command: string): void {
  execFileSync("ip", words(command));
}

function words(command: string): string[] {
  return command.split(" ");
}
