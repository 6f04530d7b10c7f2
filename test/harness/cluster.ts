/**
 * A cluster on this machine, of the programs that make a real one: registry, two invocation services, two schedulers,
 * PostgreSQL, NATS, nginx with the configurations of `deploy/gateway`, and a Docker engine where workers are containers.
 * Each is a member, which a test may kill and start again.
 */
import { randomBytes } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type Docker from "dockerode";
import { LABELS, workerNetwork } from "../../services/scheduler/runtime/docker_profile.js";
import { installationIdOf } from "../../services/scheduler/runtime/runtime_settings.js";
import { startEngine, type TestEngine, WORKER_IMAGE } from "./docker.js";
import { freePort } from "./free_port.js";
import { NatsServer } from "./nats.js";
import { Nginx } from "./nginx.js";
import { startPostgres, type TestPostgres } from "./postgres.js";
import { serviceProgram } from "./repository.js";
import { type ServerProcess, startServerProcess } from "./server_process.js";

const SERVICES = ["registry", "invocation-1", "invocation-2", "scheduler-1", "scheduler-2"] as const;
export type ServiceMember = (typeof SERVICES)[number];
export type MemberName = ServiceMember | "gateway" | "worker-gate" | "nats" | "postgres" | "dockerd";

const NETWORK = "multinode-workers";
/** Of a service whose log is kept for a complaint. */
const LOG_LINES_SHOWN = 20;

export interface Member {
  readonly name: MemberName;
  /** As a crash does. */
  kill(): Promise<void>;
  /** Starts it after that, at its old address with what it had stored. */
  start(): Promise<void>;
}

export interface ClusterOptions {
  /** An empty folder, where whatever the cluster stores lies. */
  readonly folder: string;
  readonly runtime: "process" | "docker";
  /** Of each scheduler. */
  readonly maxWorkers: number;
  readonly spareWorkers: number;
}

export interface Cluster {
  readonly apiUrl: string;
  readonly apiKey: string;
  /** Host at which workers reach this machine. */
  readonly hostForWorkers: string;
  readonly members: readonly Member[];
  readonly postgres: TestPostgres;
  member(name: MemberName): Member;
  /** The process of a service. */
  process(name: ServiceMember): ServerProcess;
  /** Which services have ended without having been killed, and what they said last. */
  endedByThemselves(): string[];
  /** Containers of the installation; none where workers are processes. */
  containers(): Promise<Docker.ContainerInfo[]>;
  /** Ends the services in order, schedulers first. */
  stopServices(): Promise<void>;
  /** Ends everything, however it is. */
  remove(): Promise<void>;
}

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { folder, runtime } = options;
  const token = randomBytes(32).toString("hex");
  const removals: (() => Promise<void>)[] = [];
  const remove = async () => {
    for (const step of removals.splice(0).toReversed()) await step();
  };
  try {
    const [postgres, nats] = await Promise.all([startPostgres(), NatsServer.start()]);
    removals.push(
      () => postgres.remove(),
      () => nats.close(),
    );
    const engine = runtime === "docker" ? await openEngine(token, removals) : undefined;
    const stores: Member[] = [
      { name: "nats", kill: () => nats.kill(), start: () => nats.start() },
      { name: "postgres", kill: () => postgres.stop("immediate"), start: () => postgres.start() },
      ...(engine === undefined
        ? []
        : [{ name: "dockerd", kill: () => engine.engine.kill(), start: () => engine.engine.restart() } as const]),
    ];
    const hostForWorkers = engine?.host ?? "127.0.0.1";
    const addresses = await freeAddresses(hostForWorkers);
    const services = serviceMembers(options, addresses, (name) => ({
      MULTINODE_SERVICE_TOKEN: token,
      MULTINODE_NATS_URL: nats.url(name),
      ...(name === "scheduler" ? {} : { MULTINODE_DATABASE_URL: postgres.url }),
      ...(engine === undefined ? {} : { MULTINODE_DOCKER_SOCKET: engine.engine.socketPath }),
    }));
    removals.push(async () => {
      await Promise.all(services.members.map((member) => member.kill()));
    });
    const gates = gateMembers(options, addresses, removals);
    await services.start("registry");
    await Promise.all([services.start("invocation-1"), services.start("invocation-2"), ...gates.map((g) => g.start())]);
    await Promise.all([services.start("scheduler-1"), services.start("scheduler-2")]);
    const apiKey = (await readFile(join(folder, "registry", "api-key"), "utf8")).trim();
    const members = [...services.members, ...gates, ...stores];
    return {
      apiUrl: `http://${addresses.public}`,
      apiKey,
      hostForWorkers,
      members,
      postgres,
      member: (name) => find(members, name),
      process: (name) => services.process(name),
      endedByThemselves: () => services.endedByThemselves(),
      containers: async () => {
        const filters = { label: [`${LABELS.installation}=${installationIdOf(token)}`] };
        return (await engine?.engine.docker.listContainers({ all: true, filters })) ?? [];
      },
      stopServices: () => services.stop(),
      remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** An engine with the worker image and the workers' network, whose machine's end is known before anything listens there. */
async function openEngine(
  token: string,
  removals: (() => Promise<void>)[],
): Promise<{ readonly engine: TestEngine; readonly host: string }> {
  const engine = await startEngine();
  removals.push(() => engine.stop());
  await engine.buildWorkerImage();
  await engine.docker.createNetwork(workerNetwork(NETWORK, installationIdOf(token)));
  const network = await engine.docker.getNetwork(NETWORK).inspect();
  const host = (network.IPAM?.Config ?? [])[0]?.["Gateway"];
  if (host === undefined) throw new Error(`the network ${NETWORK} has no address of this machine`);
  return { engine, host };
}

type Addresses = Readonly<
  Record<ServiceMember | "public" | "inner" | "api" | "doorIn1" | "doorIn2" | "doorOut1" | "doorOut2", string>
>;

async function freeAddresses(hostForWorkers: string): Promise<Addresses> {
  const near = async () => `127.0.0.1:${await freePort()}`;
  const far = async () => `${hostForWorkers}:${await freePort()}`;
  const publicAddress = await near();
  const [doorIn1, doorIn2] = [await near(), await near()];
  const hasGate = hostForWorkers !== "127.0.0.1";
  return {
    registry: await near(),
    "invocation-1": await near(),
    "invocation-2": await near(),
    "scheduler-1": await near(),
    "scheduler-2": await near(),
    public: publicAddress,
    inner: await near(),
    /** What workers are told: by the worker gate, where they are in containers. */
    api: hasGate ? await far() : publicAddress,
    doorIn1,
    doorIn2,
    doorOut1: hasGate ? await far() : doorIn1,
    doorOut2: hasGate ? await far() : doorIn2,
  };
}

function gateMembers(
  { folder, runtime }: ClusterOptions,
  addresses: Addresses,
  removals: (() => Promise<void>)[],
): Member[] {
  const gate = (name: "gateway" | "worker-gate", listens: string, replace: Record<string, string>): Member => {
    let nginx: Nginx | undefined;
    const config = name === "gateway" ? "nginx.conf" : "worker_gate.conf";
    removals.push(async () => await nginx?.kill());
    return {
      name,
      kill: async () => await nginx?.kill(),
      start: async () => {
        await mkdir(join(folder, name), { recursive: true });
        nginx = await Nginx.start({ config, replace, listens, folder: join(folder, name) });
      },
    };
  };
  const gateway = gate("gateway", addresses.public, {
    "listen 7400 ": `listen ${addresses.public} `,
    "listen 7410 ": `listen ${addresses.inner} `,
    "172.31.239.11:7401": addresses.registry,
    "172.31.239.21:7402": addresses["invocation-1"],
    "172.31.239.22:7402": addresses["invocation-2"],
    "172.31.239.31:7403": addresses["scheduler-1"],
    "172.31.239.32:7403": addresses["scheduler-2"],
  });
  if (runtime === "process") return [gateway];
  const workerGate = gate("worker-gate", addresses.api, {
    "172.31.240.1:7400": addresses.api,
    "127.0.0.1:7409": addresses.public,
    "172.31.240.1:7421": addresses.doorOut1,
    "127.0.0.1:7421": addresses.doorIn1,
    "172.31.240.1:7422": addresses.doorOut2,
    "127.0.0.1:7422": addresses.doorIn2,
  });
  return [gateway, workerGate];
}

function serviceMembers(
  { folder, runtime, maxWorkers, spareWorkers }: ClusterOptions,
  addresses: Addresses,
  settingsOf: (program: Program) => Record<string, string>,
) {
  const processes = new Map<ServiceMember, ServerProcess>();
  const running = new Set<ServiceMember>();
  const ended = new Map<ServiceMember, string>();
  const schedulerSettings = (name: ServiceMember) => ({
    MULTINODE_WORKER_LISTEN: name === "scheduler-1" ? addresses.doorIn1 : addresses.doorIn2,
    MULTINODE_WORKER_URL: `http://${name === "scheduler-1" ? addresses.doorOut1 : addresses.doorOut2}`,
    MULTINODE_OTHER_WORKER_URLS: `http://${addresses.doorOut1},http://${addresses.doorOut2}`,
    MULTINODE_API_URL: `http://${addresses.api}`,
    MULTINODE_INVOCATION_REPLICAS: `${addresses["invocation-1"]},${addresses["invocation-2"]}`,
    MULTINODE_RUNTIME: runtime,
    ...(runtime === "process" ? {} : { MULTINODE_WORKER_IMAGE: WORKER_IMAGE, MULTINODE_WORKER_NETWORK: NETWORK }),
    MULTINODE_MAX_WORKERS: String(maxWorkers),
    MULTINODE_SPARE_WORKERS: String(spareWorkers),
  });
  const start = async (name: ServiceMember) => {
    const program = programOf(name);
    const server = await startServerProcess({
      name,
      args: [serviceProgram(program)],
      env: {
        MULTINODE_DATA_DIR: join(folder, name),
        MULTINODE_LISTEN: addresses[name],
        MULTINODE_REGISTRY_ADDRESS: program === "invocation" ? addresses.registry : addresses.inner,
        MULTINODE_INVOCATION_ADDRESS: addresses.inner,
        MULTINODE_LOG_LEVEL: "info",
        ...settingsOf(program),
        ...(program === "scheduler" ? schedulerSettings(name) : {}),
      },
      isAnnouncement: (line) => line["service"] === program && typeof line["port"] === "number",
      logFile: join(folder, `${name}.log`),
    });
    processes.set(name, server);
    running.add(name);
    void server.ended.then((status) => {
      if (processes.get(name) !== server || !running.delete(name)) return;
      const log = server
        .logged()
        .slice(-LOG_LINES_SHOWN)
        .map((line) => JSON.stringify(line));
      ended.set(name, `${name} ended by itself with ${status}: ${[...log, server.stderr()].join("\n")}`);
    });
  };
  const end = async (name: ServiceMember, how: "kill" | "stop") => {
    running.delete(name);
    await processes.get(name)?.[how]();
  };
  return {
    members: SERVICES.map((name): Member => ({ name, kill: () => end(name, "kill"), start: () => start(name) })),
    start,
    process: (name: ServiceMember) => {
      const server = processes.get(name);
      if (server === undefined) throw new Error(`${name} was not started`);
      return server;
    },
    endedByThemselves: () => [...ended.values()],
    stop: async () => {
      await Promise.all([end("scheduler-1", "stop"), end("scheduler-2", "stop")]);
      await Promise.all([end("invocation-1", "stop"), end("invocation-2", "stop"), end("registry", "stop")]);
    },
  };
}

type Program = "registry" | "invocation" | "scheduler";

function programOf(name: ServiceMember): Program {
  if (name === "registry") return "registry";
  return name.startsWith("invocation") ? "invocation" : "scheduler";
}

function find(members: readonly Member[], name: MemberName): Member {
  const member = members.find((other) => other.name === name);
  if (member === undefined) throw new Error(`the cluster has no ${name}`);
  return member;
}
