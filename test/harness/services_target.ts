/** Registry, invocation service and scheduler as three processes behind one address. */
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import type { SecureClientSessionOptions } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./free_port.js";
import { openGateway } from "./gateway.js";
import { serviceProgram } from "./repository.js";
import type { RunningTarget } from "./running_target.js";
import { type ServerProcess, startServerProcess } from "./server_process.js";

/** Setting of services that serve metrics. */
export const METRICS = { MULTINODE_METRICS_LISTEN: "127.0.0.1:0" };

const NAMES = ["registry", "invocation", "scheduler"] as const;

export type ServiceName = (typeof NAMES)[number];

export interface ServicesTarget extends RunningTarget {
  /** Starts one that has ended, on its old address and its old data. */
  restart(name: ServiceName): Promise<void>;
}

export interface ServicesOptions {
  /** Settings of a service beside those that it needs. */
  readonly env?: (name: ServiceName) => Record<string, string>;
  /** How the gateway speaks to the services; default: plain text. */
  readonly tls?: SecureClientSessionOptions;
}

/** @param folder where each service has a folder of its own; default: a new temporary folder, removed at the end */
export async function startServicesTarget(folder?: string, options: ServicesOptions = {}): Promise<ServicesTarget> {
  const scratch = folder ?? (await mkdtemp(join(tmpdir(), "multinode-e2e-")));
  // The services are told of each other before they run, so their ports are chosen here.
  const freeAddress = async () => `127.0.0.1:${await freePort()}`;
  const [registry, invocation, scheduler] = [await freeAddress(), await freeAddress(), await freeAddress()];
  const routes = {
    "/multinode.registry.v1.": registry,
    "/multinode.invocation.v1.": invocation,
    "/multinode.scheduler.v1.": scheduler,
  };
  const gateway = await openGateway(routes, options.tls);
  const apiUrl = `http://127.0.0.1:${gateway.port}`;
  const servers: Record<string, ServerProcess> = {};
  const stop = async () => {
    await gateway.close();
    // The scheduler first: it ends its workers, and reports that to the others.
    for (const name of NAMES.toReversed()) await servers[name]?.stop();
    if (folder === undefined) await rm(scratch, { recursive: true, force: true });
  };
  const addresses = { registry, invocation, scheduler };
  const token = randomBytes(32).toString("hex");
  const restart = async (name: ServiceName) => {
    servers[name] = await startServerProcess({
      name,
      args: [serviceProgram(name)],
      env: {
        MULTINODE_DATA_DIR: join(scratch, name),
        MULTINODE_LISTEN: addresses[name],
        MULTINODE_SERVICE_TOKEN: token,
        MULTINODE_REGISTRY_ADDRESS: registry,
        MULTINODE_INVOCATION_ADDRESS: invocation,
        MULTINODE_API_URL: apiUrl,
        MULTINODE_LOG_LEVEL: "warn",
        ...options.env?.(name),
      },
      isAnnouncement: (line) => line["service"] === name && typeof line["port"] === "number",
    });
  };
  const crash = async () => {
    await Promise.all(NAMES.map(async (name) => await servers[name]?.kill()));
    for (const name of NAMES) await restart(name);
  };
  try {
    for (const name of NAMES) await restart(name);
    const apiKey = (await readFile(join(scratch, "registry", "api-key"), "utf8")).trim();
    return {
      kind: "services",
      apiUrl,
      apiKey,
      get metricsUrls() {
        const ports = Object.values(servers).flatMap(({ announced }) => announced["metricsPort"] ?? []);
        return ports.map((port) => `http://127.0.0.1:${Number(port)}/metrics`);
      },
      servers,
      restart,
      crash,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
