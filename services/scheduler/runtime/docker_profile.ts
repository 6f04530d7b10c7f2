/**
 * What containers are made of: names, labels, limits and the hardened profile. Nothing here comes from a request; of a
 * function only its checked numbers do.
 *
 * D1. A worker runs as nobody: no capabilities, no new privileges, no device, no mount of the host, read-only root.
 * D2. Its secrets reach it by its standard input, so that neither `docker inspect` nor its environment shows them.
 * D3. Memory has no swap beside it, so the limit is hard.
 */
import type { ContainerCreateOptions, HostConfig, NetworkCreateOptions } from "dockerode";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { bootFileText } from "../../../sdk/typescript/src/worker/boot_config.js";
import type { FirstWork } from "../../../sdk/typescript/src/worker/first_work.js";
import { WORKER_FLAGS } from "../../../sdk/typescript/src/worker/worker_flags.js";
import type { WorkerBoot, WorkerResources } from "./runtime.js";

const MIB = 1024 * 1024;

/** User and group nobody, by number: an image need not name them. */
export const NOBODY = 65_534;
/** Where bundles are unpacked. */
export const CODE_FOLDER = "/code";

/**
 * What a spare may take until it is bound: enough to boot. Its CPU has no limit then: it runs nothing but our own program,
 * whose threads boot side by side, and a limit of one CPU would let them stand still for a part of each 100 ms.
 */
const SPARE_MEMORY_BYTES = 64 * MIB;
/**
 * What the worker program itself takes. A function's memory is what it adds to that, the same as in a process, and what
 * its bundle takes unpacked.
 */
export const WORKER_OVERHEAD_BYTES = 128 * MIB;
const HOLDER_PIDS = 8;
const HOLDER_MEMORY_BYTES = 16 * MIB;
const NANO = 1e9;
export const OPEN_FILES = [{ Name: "nofile", Soft: LIMITS.containerOpenFiles, Hard: 4 * LIMITS.containerOpenFiles }];
export const LOGS = { driver: "local", options: { "max-size": "10m", "max-file": "2" } };
/**
 * Nobody answers there, and that is known after a second. The engine's own name server would ask those of the machine, for
 * workers that reach none, and so carry what is asked to the world.
 */
const NO_NAME_SERVER = { servers: ["127.0.0.1"], options: ["timeout:1", "attempts:1"] };
/** The engine refuses less. */
const LEAST_CPU = 0.01;
/**
 * A container that has used its share of a period stands still for the rest of it. In the engine's own, of 100 ms, a tenth of a
 * CPU is 10 ms, and a call that needs 20 takes 200: the shares of longer periods are longer, and no larger. Nothing may stand
 * still for so long that it misses what it is asked to heed.
 */
const SHORTEST_PERIOD_US = 100_000;
const LONGEST_PERIOD_US = 500_000;
const WANTED_SHARE_US = 50_000;

export const LABELS = {
  installation: "dev.multinode.installation",
  scheduler: "dev.multinode.scheduler",
  worker: "dev.multinode.worker",
  /** "worker" or "holder". */
  role: "dev.multinode.role",
} as const;

export interface ContainerSettings {
  /** What all containers of an installation carry: 1 to 32 of a-z and 0-9. */
  readonly installationId: string;
  readonly schedulerId: string;
  /** The worker image. It needs `node`, `sleep` and the worker program at WORKER_PROGRAM. */
  readonly image: string;
  /** Name of the network that workers are in. */
  readonly network: string;
  /** IP addresses of those that workers ask for names, or "engine": those of the engine. Default: none. */
  readonly nameServers?: readonly string[] | "engine";
  /** OCI runtime, such as "runsc". Default: the engine's. */
  readonly ociRuntime?: string;
}

const WORKER_PROGRAM = "/opt/multinode/worker.cjs";
/**
 * V8 sizes its heap once, by the limit that a spare boots with, which is small; the container's limit is what counts.
 * A constant, because compiled code is cached for these flags only.
 */
const HEAP_MIB = 65_536;

/** The command of a worker, which the image's build runs too, to fill the cache of compiled code. */
export const WORKER_COMMAND = ["node", ...WORKER_FLAGS, `--max-old-space-size=${HEAP_MIB}`, WORKER_PROGRAM] as const;

export function nameOf(installationId: string, workerId: string): string {
  return `mn-${installationId}-${workerId}`;
}

/** What a worker reads on its standard input. */
export function bootText(boot: WorkerBoot, firstWork?: FirstWork): string {
  return bootFileText({ ...boot, bundleCacheDir: CODE_FOLDER }, firstWork);
}

/**
 * @param networkMode a network's name, or "container:<id>" for the network of a holder
 * @param resources default: those of a spare
 */
export function workerContainer(
  settings: ContainerSettings,
  workerId: string,
  networkMode: string,
  resources?: WorkerResources,
): ContainerCreateOptions {
  return {
    Image: settings.image,
    User: `${NOBODY}:${NOBODY}`,
    Entrypoint: [],
    Cmd: [...WORKER_COMMAND],
    WorkingDir: "/tmp",
    Env: ["MULTINODE_WORKER_CONFIG=/dev/stdin", "HOME=/tmp"],
    OpenStdin: true, // D2
    StdinOnce: true,
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    Labels: { ...labelsOf(settings, "worker"), [LABELS.worker]: workerId },
    HostConfig: {
      ...hardened(settings, networkMode, LIMITS.containerProcesses),
      ...(resources === undefined ? memoryLimitOf(SPARE_MEMORY_BYTES) : limitsOf(resources)),
      Tmpfs: {
        "/tmp": tmpfs(LIMITS.containerTmpBytes, "noexec"),
        // Native addons are mapped as code.
        [CODE_FOLDER]: tmpfs(LIMITS.containerCodeBytes, "exec"),
      },
      LogConfig: { Type: LOGS.driver, Config: LOGS.options },
    },
  };
}

/** A container that does nothing but hold a network open. */
export function holderContainer(settings: ContainerSettings): ContainerCreateOptions {
  return {
    Image: settings.image,
    User: `${NOBODY}:${NOBODY}`,
    Entrypoint: [],
    Cmd: ["sleep", "infinity"],
    Env: [],
    Labels: labelsOf(settings, "holder"),
    HostConfig: {
      ...hardened(settings, settings.network, HOLDER_PIDS),
      Memory: HOLDER_MEMORY_BYTES,
      MemorySwap: HOLDER_MEMORY_BYTES,
      NanoCpus: 0.1 * NANO,
      LogConfig: { Type: "none", Config: {} },
    },
  };
}

/** Neither a way out of the machine nor from one worker to another: what is reached is the machine's end of the bridge. */
export function workerNetwork(name: string, installationId: string): NetworkCreateOptions {
  return {
    Name: name,
    CheckDuplicate: true,
    Driver: "bridge",
    Internal: true,
    Options: { "com.docker.network.bridge.enable_icc": "false" },
    Labels: { [LABELS.installation]: installationId },
  };
}

export function limitsOf({ cpu, memoryBytes }: WorkerResources) {
  return { ...memoryLimitOf(memoryBytes), ...cpuLimitOf(cpu) };
}

function cpuLimitOf(given: number): Pick<HostConfig, "CpuPeriod" | "CpuQuota"> {
  const cpu = Math.max(given, LEAST_CPU);
  const period = Math.min(Math.max(WANTED_SHARE_US / cpu, SHORTEST_PERIOD_US), LONGEST_PERIOD_US);
  return { CpuPeriod: Math.round(period), CpuQuota: Math.round(period * cpu) };
}

/** For an engine that takes no period. */
export function nanoCpusOf(cpu: number): number {
  return Math.round(Math.max(cpu, LEAST_CPU) * NANO);
}

export function memoryLimitOf(memoryBytes: number) {
  const limitBytes = memoryBytes + WORKER_OVERHEAD_BYTES;
  return { Memory: limitBytes, MemorySwap: limitBytes }; // D3
}

/** Undefined: as the engine has it. */
export function nameServersOf({ nameServers = [] }: Pick<ContainerSettings, "nameServers">) {
  if (nameServers === "engine") return undefined;
  return nameServers.length === 0 ? NO_NAME_SERVER : { servers: [...nameServers], options: [] };
}

function hardened(settings: ContainerSettings, networkMode: string, pids: number): HostConfig {
  const { ociRuntime } = settings;
  // The network of a holder has the holder's.
  const names = networkMode.startsWith("container:") ? undefined : nameServersOf(settings);
  return {
    Init: true,
    AutoRemove: false,
    RestartPolicy: { Name: "no" },
    NetworkMode: networkMode,
    ...(names === undefined ? {} : { Dns: names.servers, DnsOptions: names.options }),
    CapDrop: ["ALL"], // D1
    SecurityOpt: ["no-new-privileges"],
    ReadonlyRootfs: true,
    Privileged: false,
    Binds: [],
    PidMode: "",
    IpcMode: "private",
    PidsLimit: pids,
    Ulimits: OPEN_FILES,
    ...(ociRuntime === undefined ? {} : { Runtime: ociRuntime }),
  };
}

export function labelsOf(
  { installationId, schedulerId }: Pick<ContainerSettings, "installationId" | "schedulerId">,
  role: "worker" | "holder",
): Record<string, string> {
  return { [LABELS.installation]: installationId, [LABELS.scheduler]: schedulerId, [LABELS.role]: role };
}

/** An existing /tmp would give the mount its own mode; the owner makes it writable. */
function tmpfs(sizeBytes: number, exec: "exec" | "noexec"): string {
  return `rw,${exec},nosuid,nodev,size=${sizeBytes},mode=0700,uid=${NOBODY},gid=${NOBODY}`;
}
