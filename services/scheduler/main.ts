/** A scheduler as a process of its own. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { z } from "zod";
import { DispatchServiceDefinition } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { CatalogServiceDefinition } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import { SchedulerServiceDefinition } from "../../gen/multinode/scheduler/v1/scheduler_service.pb.js";
import { WorkerServiceDefinition } from "../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { openBus } from "../platform/bus/open_bus.js";
import { systemClock } from "../platform/clock.js";
import { addressSetting, COMMON_SETTINGS, listenSetting, PAYLOAD_SETTING } from "../platform/config.js";
import { IdSource } from "../platform/ids.js";
import { remoteKeyAuthority } from "../platform/rpc/remote_authority.js";
import { runService, serviceSettings } from "../platform/service_process.js";
import { SettingsError } from "../platform/settings_error.js";
import { keptFile } from "../platform/store/whole_file.js";
import { openRuntime, RUNTIME_SETTINGS } from "./runtime/runtime_settings.js";
import { WORKER_COUNT_SETTINGS } from "./scheduler_settings.js";
import { createSchedulerService } from "./service.js";
import { WorkerTokens } from "./workers/worker_token.js";

const httpUrl = z.url({ protocol: /^https?$/, error: 'must be a URL such as "http://127.0.0.1:7400"' });

const settings = serviceSettings("scheduler", {
  ...COMMON_SETTINGS,
  MULTINODE_REGISTRY_ADDRESS: addressSetting,
  MULTINODE_INVOCATION_ADDRESS: addressSetting,
  /** Each replica of the invocation service by itself, with commas; default: what MULTINODE_INVOCATION_ADDRESS leads to. */
  MULTINODE_INVOCATION_REPLICAS: z
    .string()
    .transform((text) => [...new Set(text.split(","))])
    .pipe(z.array(addressSetting))
    .optional(),
  /** Where functions reach the public API. */
  MULTINODE_API_URL: httpUrl,
  /** Where workers come to, who have no certificate; default: where the other services come to, without TLS. */
  MULTINODE_WORKER_LISTEN: listenSetting.optional(),
  /** How workers reach that; default: its address. */
  MULTINODE_WORKER_URL: httpUrl.optional(),
  /** How workers reach the other schedulers, with commas; its own may be among them. */
  MULTINODE_OTHER_WORKER_URLS: z
    .string()
    .transform((text) => text.split(","))
    .pipe(z.array(httpUrl))
    .default([]),
  ...PAYLOAD_SETTING,
  ...WORKER_COUNT_SETTINGS,
  ...RUNTIME_SETTINGS,
});

await runService("scheduler", settings, async ({ folder: { path }, log, metrics, usesTls, connect }) => {
  const serviceToken = settings.MULTINODE_SERVICE_TOKEN;
  const workerListen = settings.MULTINODE_WORKER_LISTEN;
  if (usesTls && workerListen === undefined) {
    throw new SettingsError([
      "MULTINODE_WORKER_LISTEN is missing: with TLS, workers need a listener that asks for no certificate",
    ]);
  }
  const ids = new IdSource(systemClock);
  const registry = connect(settings.MULTINODE_REGISTRY_ADDRESS);
  const invocation = connect(settings.MULTINODE_INVOCATION_ADDRESS);
  const replicas = settings.MULTINODE_INVOCATION_REPLICAS?.map(connect);
  const catalog = registry.client(CatalogServiceDefinition);
  const bus = openBus(settings, "scheduler", log, [registry, invocation]);
  // The same for all schedulers of the installation, which share the service token, so that a worker may come to any of
  // them. A new service token ends all workers.
  const tokens = new WorkerTokens(createHash("sha256").update(`workers of ${serviceToken}`).digest());
  const schedulerId = String(await keptFile(join(path, "scheduler-id"), () => ids.next("sch")));
  let url = "";
  const scheduler = createSchedulerService({
    schedulerId,
    dispatch: invocation.client(DispatchServiceDefinition),
    ...(replicas && { lessors: replicas.map((replica) => replica.client(DispatchServiceDefinition)) }),
    catalog,
    runtime: openRuntime(settings, { folder: path, schedulerId, log }),
    bus,
    ids,
    tokens,
    log,
    metrics,
    schedulerUrl: () => url,
    otherUrls: settings.MULTINODE_OTHER_WORKER_URLS.filter((other) => other !== settings.MULTINODE_WORKER_URL),
    apiUrl: () => settings.MULTINODE_API_URL,
    maxWorkers: settings.MULTINODE_MAX_WORKERS,
    spareWorkers: settings.MULTINODE_SPARE_WORKERS,
    payloadBytes: settings.MULTINODE_MAX_PAYLOAD_BYTES,
  });
  return {
    authorities: [remoteKeyAuthority(catalog), tokens.authority],
    addTo: (server) => {
      server.add(SchedulerServiceDefinition, scheduler.operators);
      server.add(WorkerServiceDefinition, scheduler.workers);
      return [SchedulerServiceDefinition, WorkerServiceDefinition, ...bus.addTo(server)];
    },
    open: workerListen && {
      address: workerListen,
      addTo: (server) => {
        server.add(WorkerServiceDefinition, scheduler.workers);
        return [WorkerServiceDefinition];
      },
    },
    started: async (workerPort) => {
      const { host } = workerListen ?? settings.MULTINODE_LISTEN;
      const ownUrl = `${usesTls ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${workerPort}`;
      url = settings.MULTINODE_WORKER_URL ?? ownUrl;
      await scheduler.start();
    },
    stop: (signal) => scheduler.stop(signal),
    close: async () => {
      await bus.close();
      registry.close();
      invocation.close();
      for (const replica of replicas ?? []) replica.close();
    },
  };
});
