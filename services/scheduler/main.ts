/** A scheduler as a process of its own, with the process runtime. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { EventServiceDefinition } from "../../gen/multinode/event/v1/event_service.pb.js";
import { DispatchServiceDefinition } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { CatalogServiceDefinition } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import { SchedulerServiceDefinition } from "../../gen/multinode/scheduler/v1/scheduler_service.pb.js";
import { WorkerServiceDefinition } from "../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { PeerBus } from "../platform/bus/peer.js";
import { systemClock } from "../platform/clock.js";
import { addressSetting, COMMON_SETTINGS, readSettings } from "../platform/config.js";
import { IdSource } from "../platform/ids.js";
import { packageFile } from "../platform/package_files.js";
import { remoteKeyAuthority } from "../platform/rpc/remote_authority.js";
import { connectToService } from "../platform/rpc/service_client.js";
import { runService } from "../platform/service_process.js";
import { writeWholeFile } from "../platform/store/whole_file.js";
import { ProcessRuntime } from "./runtime/process.js";
import { createSchedulerService } from "./service.js";
import { WorkerTokens } from "./worker_token.js";

const count = (most: number) => z.coerce.number().int().min(0).max(most);

const settings = readSettings(
  {
    ...COMMON_SETTINGS,
    MULTINODE_REGISTRY_ADDRESS: addressSetting,
    MULTINODE_INVOCATION_ADDRESS: addressSetting,
    /** Where functions reach the public API. */
    MULTINODE_API_URL: z.url(),
    MULTINODE_MAX_WORKERS: count(10_000).default(64),
    MULTINODE_SPARE_WORKERS: count(100).default(2),
  },
  process.env,
);

await runService("scheduler", settings, async ({ path }, log) => {
  const serviceToken = settings.MULTINODE_SERVICE_TOKEN;
  const ids = new IdSource(systemClock);
  const registry = connectToService(settings.MULTINODE_REGISTRY_ADDRESS, serviceToken);
  const invocation = connectToService(settings.MULTINODE_INVOCATION_ADDRESS, serviceToken);
  const catalog = registry.client(CatalogServiceDefinition);
  const bus = new PeerBus([registry.client(EventServiceDefinition), invocation.client(EventServiceDefinition)]);
  // The same for all schedulers of the installation, which share the service token, so that a worker may come to any of
  // them. A new service token ends all workers.
  const tokens = new WorkerTokens(createHash("sha256").update(`workers of ${serviceToken}`).digest());
  let url = "";
  const scheduler = createSchedulerService({
    schedulerId: stableId(join(path, "scheduler-id"), () => ids.next("sch")),
    dispatch: invocation.client(DispatchServiceDefinition),
    catalog,
    runtime: new ProcessRuntime({ folder: path, workerProgram: packageFile("worker.js") }),
    bus,
    ids,
    tokens,
    log,
    schedulerUrl: () => url,
    apiUrl: () => settings.MULTINODE_API_URL,
    maxWorkers: settings.MULTINODE_MAX_WORKERS,
    spareWorkers: settings.MULTINODE_SPARE_WORKERS,
    payloadBytes: LIMITS.payloadBytes,
  });
  return {
    authorities: [remoteKeyAuthority(catalog), tokens.authority],
    addTo: (server) => {
      server.add(SchedulerServiceDefinition, scheduler.operators);
      server.add(WorkerServiceDefinition, scheduler.workers);
      server.add(EventServiceDefinition, bus.service());
      return [SchedulerServiceDefinition, WorkerServiceDefinition, EventServiceDefinition];
    },
    started: async (port) => {
      url = `http://${settings.MULTINODE_LISTEN.host}:${port}`;
      await scheduler.start();
    },
    stop: (signal) => scheduler.stop(signal),
    close: async () => {
      await bus.close();
      registry.close();
      invocation.close();
    },
  };
});

function stableId(file: string, make: () => string): string {
  if (!existsSync(file)) writeWholeFile(file, make());
  return readFileSync(file, "utf8");
}
