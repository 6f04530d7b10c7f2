/**
 * The embedded server: the three services in one process, on SQLite, an in-memory bus and the process runtime. It is
 * wiring only: no service knows that it is embedded. What goes wrong is logged as JSON lines on standard error.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { DispatchServiceClient } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { TeardownServiceClient } from "../../gen/multinode/invocation/v1/teardown_service.pb.js";
import type { CatalogServiceClient } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { createInvocationService } from "../invocation/service.js";
import { MIGRATIONS as invocationMigrations } from "../invocation/sql/schema.js";
import { MemoryBus } from "../platform/bus/memory.js";
import { systemClock } from "../platform/clock.js";
import { IdSource } from "../platform/ids.js";
import { createLogger } from "../platform/log.js";
import { observeCalls } from "../platform/metrics/call_metrics.js";
import { openMetrics } from "../platform/metrics/open_metrics.js";
import { packageFile } from "../platform/package_files.js";
import { ACCESS } from "../platform/rpc/access.js";
import { listen } from "../platform/rpc/listening.js";
import { localClient } from "../platform/rpc/local_client.js";
import { refuseUnprotected } from "../platform/rpc/loopback.js";
import { createRpcServer } from "../platform/rpc/server.js";
import { holdDataFolder } from "../platform/store/data_folder.js";
import { openSqlite } from "../platform/store/sqlite.js";
import { writeWholeFile } from "../platform/store/whole_file.js";
import { openBundlesOnDisk } from "../registry/bundles_on_disk.js";
import { createRegistry } from "../registry/service.js";
import { registryMigrations } from "../registry/sql/schema.js";
import { ProcessRuntime } from "../scheduler/runtime/process.js";
import type { Runtime } from "../scheduler/runtime/runtime.js";
import { DEFAULT_MAX_WORKERS, DEFAULT_SPARE_WORKERS } from "../scheduler/scheduler_settings.js";
import { createSchedulerService } from "../scheduler/service.js";
import { WorkerTokens } from "../scheduler/workers/worker_token.js";
import { tellActivity } from "./activity.js";
import { PUBLIC_SERVICES, stableSecrets } from "./settings.js";

export interface EmbeddedOptions {
  /** Folder that holds everything. Made where it is missing. */
  readonly dataDir: string;
  /** Address to listen on. A loopback address, unless `insecure` says that the network is trusted. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly insecure?: boolean;
  /** Workers at the same time. Default `DEFAULT_MAX_WORKERS`. */
  readonly maxWorkers?: number;
  /** Workers that are booted ahead. Default `DEFAULT_SPARE_WORKERS`. */
  readonly spareWorkers?: number;
  /** Largest payload, in bytes. Default 250,000. */
  readonly maxPayloadBytes?: number;
  /** How long an invocation is kept after its end, in days. Default: until its project is deleted. */
  readonly retentionDays?: number;
  /** Port, at the same host, where metrics are served for Prometheus. Default: nothing is counted. */
  readonly metricsPort?: number;
  /** What runs the workers. It is closed with the server. Default: the process runtime. */
  readonly runtime?: Runtime;
  /** Called with a line for people when something happens. */
  readonly onActivity?: (line: string) => void;
}

export interface EmbeddedServer {
  readonly url: string;
  /** Where metrics are served; absent: nowhere. */
  readonly metricsUrl?: string;
  /** File that holds the first API key. */
  readonly apiKeyFile: string;
  /** Whether the data folder was new. */
  readonly firstStart: boolean;
  /** Settles when the server has stopped. */
  readonly closed: Promise<void>;
  stop(): Promise<void>;
}

/** How long a stop may take before what is left is broken off. */
const STOP_BOUND_MS = 5_000;

export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedServer> {
  refuseUnprotected(options.host, options.insecure ?? false);
  const folder = holdDataFolder(options.dataDir, `process ${process.pid} since ${new Date().toISOString()}`);
  const undo: (() => Promise<void> | void)[] = [() => folder.release()];
  try {
    return await start(options, undo);
  } catch (error) {
    for (const step of undo.reverse()) await step();
    throw error;
  }
}

async function start(options: EmbeddedOptions, undo: (() => Promise<void> | void)[]): Promise<EmbeddedServer> {
  const { dataDir } = options;
  const log = createLogger("multinode", "warn", process.stderr);
  const clock = systemClock;
  const ids = new IdSource(clock);
  const bus = new MemoryBus();
  const secrets = await stableSecrets(join(dataDir, "secrets.json"), ids);

  const measured = await openMetrics(
    options.metricsPort === undefined ? undefined : { host: options.host, port: options.metricsPort },
    log,
  );
  undo.push(() => measured?.close());
  const metrics = measured?.metrics;

  const registryDb = await openSqlite(join(dataDir, "registry.db"), registryMigrations);
  undo.push(() => registryDb.close());
  const invocationDb = await openSqlite(join(dataDir, "invocation.db"), invocationMigrations);
  undo.push(() => invocationDb.close());

  const bundles = await openBundlesOnDisk(join(dataDir, "bundles"), clock);
  // The registry ends the invocations of a project, and the invocation service asks the registry for functions.
  const teardownClient: Pick<TeardownServiceClient, "cancelProject" | "purgeProject"> = {
    cancelProject: (request, callOptions) => teardown.cancelProject(request, callOptions),
    purgeProject: (request, callOptions) => teardown.purgeProject(request, callOptions),
  };
  const secret = secrets.registry;
  const registry = createRegistry({
    db: registryDb,
    bundles,
    bus,
    clock,
    ids,
    log,
    teardownClient,
    secret,
    resolveCacheMs: LIMITS.embeddedResolveCacheMs,
  });
  const catalog = localClient<CatalogServiceClient>(registry.catalog);
  const payloadBytes = options.maxPayloadBytes ?? LIMITS.payloadBytes;
  const invocation = await createInvocationService({
    db: invocationDb,
    bus,
    clock,
    ids,
    log,
    metrics,
    catalog,
    limits: { payloadBytes },
    retentionDays: options.retentionDays,
  });
  const teardown = localClient<TeardownServiceClient>(invocation.teardown);

  const tokens = new WorkerTokens(randomBytes(32));
  const runtime =
    options.runtime ?? new ProcessRuntime({ folder: dataDir, workerProgram: packageFile("worker.cjs"), log });
  undo.push(() => runtime.close());
  let url = "";
  const scheduler = createSchedulerService({
    schedulerId: secrets.schedulerId,
    dispatch: localClient<DispatchServiceClient>(invocation.dispatch),
    catalog,
    runtime,
    bus,
    ids,
    tokens,
    log,
    metrics,
    schedulerUrl: () => url,
    apiUrl: () => url,
    maxWorkers: options.maxWorkers ?? DEFAULT_MAX_WORKERS,
    spareWorkers: options.spareWorkers ?? DEFAULT_SPARE_WORKERS,
    payloadBytes,
  });

  const stopping = new AbortController();
  const observe = metrics && observeCalls(metrics);
  const authorities = [registry.authority, invocation.authority, tokens.authority];
  const server = createRpcServer({ log, authorities, access: ACCESS, stopping: stopping.signal, observe });
  server.add(PUBLIC_SERVICES.registry, registry.registry);
  server.add(PUBLIC_SERVICES.apiKeys, registry.apiKeys);
  server.add(PUBLIC_SERVICES.invocations, invocation.invocations);
  server.add(PUBLIC_SERVICES.logs, invocation.logs);
  server.add(PUBLIC_SERVICES.operators, scheduler.operators);
  server.add(PUBLIC_SERVICES.workers, scheduler.workers);
  const names = Object.values(PUBLIC_SERVICES).map(({ fullName }) => fullName);
  const listening = await listen(server, options, names);
  undo.push(() => listening.stop(0));
  const urlOf = (port: number) => `http://${options.host.includes(":") ? `[${options.host}]` : options.host}:${port}`;
  url = urlOf(listening.port);

  const apiKeyFile = join(dataDir, "api-key");
  const firstStart = await registry.ensureFirstKey((token) => writeWholeFile(apiKeyFile, `${token}\n`));
  invocation.start();
  registry.start();
  await scheduler.start();
  listening.serving(true);
  const untell = options.onActivity === undefined ? undefined : tellActivity(bus, invocationDb, options.onActivity);

  const { promise: closed, resolve: tellClosed } = Promise.withResolvers<void>();
  let stopped: Promise<void> | undefined;
  const stop = async () => {
    listening.serving(false);
    untell?.();
    stopping.abort();
    await registry.stop();
    await scheduler.stop(AbortSignal.timeout(STOP_BOUND_MS));
    await listening.stop(STOP_BOUND_MS);
    await invocation.stop();
    await bus.close();
    measured?.close();
    await Promise.all([invocationDb.close(), registryDb.close()]);
    await undo[0]?.();
    tellClosed();
  };
  return {
    url,
    ...(measured && { metricsUrl: `${urlOf(measured.port)}/metrics` }),
    apiKeyFile,
    firstStart,
    closed,
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}
