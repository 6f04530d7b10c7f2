/** The runtime that a scheduler's settings ask for. */
import { createHash } from "node:crypto";
import { isIP } from "node:net";
import { z } from "zod";
import { wholeNumber } from "../../platform/config.js";
import type { Logger } from "../../platform/log.js";
import { packageFile } from "../../platform/package_files.js";
import { SettingsError } from "../../platform/settings_error.js";
import { DockerRuntime } from "./docker.js";
import { ProcessRuntime } from "./process.js";
import type { Runtime } from "./runtime.js";
import { SwarmRuntime } from "./swarm.js";

const INSTALLATION_CHARACTERS = 12;
const DEFAULT_SOCKET = "/var/run/docker.sock";
const DEFAULT_IMAGE = "multinode/worker:latest";
const DEFAULT_NETWORK = "multinode-workers";
const DEFAULT_READY_NETWORKS = 4;
const DEFAULT_BUILD_NETWORK = "bridge";

/** All but the first have their defaults where they are used: what is set and has no use is refused. */
export const RUNTIME_SETTINGS = {
  MULTINODE_RUNTIME: z.enum(["process", "docker", "swarm"]).default("process"),
  /** The engine's Unix socket, on a Swarm that of a manager. Whoever holds it is root on its machine: only schedulers do. */
  MULTINODE_DOCKER_SOCKET: z.string().startsWith("/", "must be an absolute path").optional(),
  MULTINODE_WORKER_IMAGE: z
    .string()
    .regex(/^[a-z0-9][\w./:@-]{0,254}$/, `must be an image, such as ${DEFAULT_IMAGE}`)
    .optional(),
  /** Made where there is none of that name: without a way out of the machine and between workers. */
  MULTINODE_WORKER_NETWORK: z
    .string()
    .regex(/^[a-zA-Z0-9][\w.-]{0,62}$/, "must be the name of a network")
    .optional(),
  /** Whom workers ask for names, where their network leads there: IP addresses, with commas, or those of the engine. */
  MULTINODE_WORKER_NAME_SERVERS: z
    .string()
    .refine((text) => text === "engine" || text === "none" || text.split(",").every((part) => isIP(part) > 0), {
      message: 'must be "none", "engine", or IP addresses with commas',
    })
    .transform((text) => (text === "engine" ? ("engine" as const) : text.split(",").filter((part) => part !== "none")))
    .optional(),
  /** Networks that are kept open for workers to come. Default: 4. */
  MULTINODE_READY_NETWORKS: wholeNumber(0, 1_000).optional(),
  /** Whether projects' Dockerfiles are built here. Their steps run as root of containers that are not hardened. */
  MULTINODE_IMAGE_BUILDS: z.enum(["true", "false"]).optional(),
  /** What these steps reach. */
  MULTINODE_BUILD_NETWORK: z
    .string()
    .regex(/^[a-zA-Z0-9][\w.-]{0,62}$/, 'must be the name of a network, or "none"')
    .optional(),
  /** OCI runtime of workers, such as "runsc". Default: the engine's. */
  MULTINODE_WORKER_OCI_RUNTIME: z
    .string()
    .regex(/^[\w.-]{1,64}$/, "must be the name of an OCI runtime")
    .optional(),
};

export interface RuntimeContext {
  /** Folder of the scheduler. */
  readonly folder: string;
  readonly schedulerId: string;
  readonly log: Logger;
}

type Settings = z.infer<z.ZodObject<typeof RUNTIME_SETTINGS>> & {
  readonly MULTINODE_SERVICE_TOKEN: string;
  readonly MULTINODE_TLS_CA?: string | undefined;
};

export function openRuntime(settings: Settings, { folder, schedulerId, log }: RuntimeContext): Runtime {
  refuseIgnored(settings);
  const { MULTINODE_RUNTIME: runtime, MULTINODE_WORKER_OCI_RUNTIME: ociRuntime } = settings;
  if (runtime === "process") {
    const workerProgram = packageFile("worker.cjs");
    return new ProcessRuntime({ folder, workerProgram, caFile: settings.MULTINODE_TLS_CA, log });
  }
  const engine = {
    socketPath: settings.MULTINODE_DOCKER_SOCKET ?? DEFAULT_SOCKET,
    installationId: installationIdOf(settings.MULTINODE_SERVICE_TOKEN),
    schedulerId,
    image: settings.MULTINODE_WORKER_IMAGE ?? DEFAULT_IMAGE,
    network: settings.MULTINODE_WORKER_NETWORK ?? DEFAULT_NETWORK,
    nameServers: settings.MULTINODE_WORKER_NAME_SERVERS ?? [],
    log,
  };
  if (runtime === "swarm") return new SwarmRuntime(engine);
  const buildNetwork = settings.MULTINODE_BUILD_NETWORK ?? DEFAULT_BUILD_NETWORK;
  return new DockerRuntime({
    ...engine,
    readyNetworks: settings.MULTINODE_READY_NETWORKS ?? DEFAULT_READY_NETWORKS,
    ...(settings.MULTINODE_IMAGE_BUILDS === "false" ? {} : { buildNetwork }),
    ...(ociRuntime === undefined ? {} : { ociRuntime }),
  });
}

/** Which settings only containers have, and which only those of one engine. */
const OF_CONTAINERS = [
  "MULTINODE_DOCKER_SOCKET",
  "MULTINODE_WORKER_IMAGE",
  "MULTINODE_WORKER_NETWORK",
  "MULTINODE_WORKER_NAME_SERVERS",
] as const;
const OF_ONE_ENGINE = [
  "MULTINODE_READY_NETWORKS",
  "MULTINODE_IMAGE_BUILDS",
  "MULTINODE_BUILD_NETWORK",
  "MULTINODE_WORKER_OCI_RUNTIME",
] as const;

/** Whoever asks for what only some runtimes give must not believe that it is there. @throws SettingsError */
export function refuseIgnored(settings: z.infer<z.ZodObject<typeof RUNTIME_SETTINGS>>): void {
  const { MULTINODE_RUNTIME: runtime } = settings;
  if (runtime === "docker") return;
  const ignored = runtime === "process" ? [...OF_CONTAINERS, ...OF_ONE_ENGINE] : OF_ONE_ENGINE;
  const problems = ignored
    .filter((name) => settings[name] !== undefined)
    .map((name) => `${name} is set: the runtime "${runtime}" has no use for it; leave it out`);
  if (problems.length > 0) throw new SettingsError(problems);
}

/** The same for all schedulers of an installation, and for no other one: they share the service token. */
export function installationIdOf(serviceToken: string): string {
  return createHash("sha256").update(`containers of ${serviceToken}`).digest("hex").slice(0, INSTALLATION_CHARACTERS);
}
