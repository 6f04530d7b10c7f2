/**
 * Registry, invocation service and scheduler, each a process of its own, on a PostgreSQL and a NATS of their own. Functions
 * are called at the invocation service itself, as the yardsticks are at their stores: no proxy lies between.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { workerNetwork } from "../../../services/scheduler/runtime/docker_profile.js";
import { installationIdOf } from "../../../services/scheduler/runtime/runtime_settings.js";
import { type TestEngine, WORKER_IMAGE } from "../../harness/docker.js";
import { NatsServer } from "../../harness/nats.js";
import { startPostgres, type TestPostgres } from "../../harness/postgres.js";
import { type ServiceName, type ServicesTarget, startServicesTarget } from "../../harness/services_target.js";
import type { Bench } from "../measurement.js";
import type { Parts } from "./cpu.js";
import { childrenOf } from "./proc.js";
import { type Access, openAccess, System } from "./system.js";

export interface ClusterOptions {
  /** Name of the folder of its data. */
  readonly name: string;
  /** Workers as containers. Default: processes. */
  readonly containers?: { readonly engine: TestEngine; readonly spareWorkers: number };
}

export async function startCluster(bench: Bench, { name, containers }: ClusterOptions): Promise<Cluster> {
  const token = randomBytes(32).toString("hex");
  await using cleanup = new AsyncDisposableStack();
  const postgres = await startPostgres();
  cleanup.defer(() => postgres.remove());
  const nats = await NatsServer.start();
  cleanup.defer(() => nats.close());
  const ofScheduler = containers === undefined ? {} : await containerSettings(name, token, containers);
  const env = (service: ServiceName) => ({
    MULTINODE_SERVICE_TOKEN: token,
    MULTINODE_NATS_URL: nats.url(service),
    ...(service === "scheduler" ? ofScheduler : { MULTINODE_DATABASE_URL: postgres.url }),
  });
  const services = await startServicesTarget(join(bench.folder, name), { env });
  cleanup.defer(() => services.stop());
  const { apiUrl: url, apiKey } = services;
  const callsUrl = `http://127.0.0.1:${String(services.servers["invocation"]?.announced["port"])}`;
  const access = await openAccess({ url, apiKey, callsUrl });
  const parts = { services, postgres, installationId: installationIdOf(token) };
  return new Cluster(bench, access, parts, cleanup.move());
}

/** What makes a scheduler run its workers on an engine. They reach it at the machine's end of their network. */
async function containerSettings(
  name: string,
  token: string,
  { engine, spareWorkers }: NonNullable<ClusterOptions["containers"]>,
): Promise<Record<string, string>> {
  const network = `multinode-bench-${name}`;
  await engine.docker.createNetwork(workerNetwork(network, installationIdOf(token)));
  const { IPAM } = await engine.docker.getNetwork(network).inspect();
  const address = (IPAM?.Config ?? [])[0]?.["Gateway"] ?? "";
  return {
    MULTINODE_RUNTIME: "docker",
    MULTINODE_DOCKER_SOCKET: engine.socketPath,
    MULTINODE_WORKER_IMAGE: WORKER_IMAGE,
    MULTINODE_WORKER_NETWORK: network,
    MULTINODE_WORKER_LISTEN: `${address}:0`,
    MULTINODE_INSECURE: "true",
    MULTINODE_SPARE_WORKERS: String(spareWorkers),
  };
}

interface ClusterParts {
  readonly services: ServicesTarget;
  readonly postgres: TestPostgres;
  readonly installationId: string;
}

export class Cluster extends System {
  readonly #parts: ClusterParts;
  readonly #cleanup: AsyncDisposableStack;

  constructor(bench: Bench, access: Access, parts: ClusterParts, cleanup: AsyncDisposableStack) {
    super(bench, access);
    this.#parts = parts;
    this.#cleanup = cleanup;
  }

  get installationId(): string {
    return this.#parts.installationId;
  }

  get parts(): Parts {
    const { services, postgres } = this.#parts;
    const pidOf = (name: ServiceName) => services.servers[name]?.pid ?? 0;
    return () => ({
      invocation: [pidOf("invocation")],
      scheduler: [pidOf("scheduler")],
      postgres: [postgres.pid, ...childrenOf(postgres.pid)],
      workers: childrenOf(pidOf("scheduler")),
    });
  }

  protected async stop(): Promise<void> {
    await this.#cleanup.disposeAsync();
  }
}
