/** The invocation service as a process of its own. */
import { DispatchServiceDefinition } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { InvocationServiceDefinition } from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { LogServiceDefinition } from "../../gen/multinode/invocation/v1/log_service.pb.js";
import { TeardownServiceDefinition } from "../../gen/multinode/invocation/v1/teardown_service.pb.js";
import { CatalogServiceDefinition } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import { openBus } from "../platform/bus/open_bus.js";
import { addressSetting, COMMON_SETTINGS, PAYLOAD_SETTING, RETENTION_SETTING } from "../platform/config.js";
import { IdSource } from "../platform/ids.js";
import { remoteKeyAuthority } from "../platform/rpc/remote_authority.js";
import { runService, serviceSettings } from "../platform/service_process.js";
import { DATABASE_SETTINGS, openDatabase } from "../platform/store/open_database.js";
import { createInvocationService } from "./service.js";
import { MIGRATIONS } from "./sql/schema.js";

const settings = serviceSettings("invocation", {
  ...COMMON_SETTINGS,
  ...DATABASE_SETTINGS,
  ...PAYLOAD_SETTING,
  ...RETENTION_SETTING,
  MULTINODE_REGISTRY_ADDRESS: addressSetting,
});

await runService("invocation", settings, async ({ folder: { path }, log, metrics, connect }) => {
  const registry = connect(settings.MULTINODE_REGISTRY_ADDRESS);
  const catalog = registry.client(CatalogServiceDefinition);
  const bus = openBus(settings, "invocation", log, [registry]);
  const db = await openDatabase(settings, { name: "invocation", folder: path }, MIGRATIONS);
  const { clock } = db;
  const limits = { payloadBytes: settings.MULTINODE_MAX_PAYLOAD_BYTES };
  const retentionDays = settings.MULTINODE_RETENTION_DAYS;
  const ids = new IdSource(clock);
  const service = await createInvocationService({ db, bus, clock, ids, log, metrics, catalog, limits, retentionDays });
  return {
    authorities: [remoteKeyAuthority(catalog), service.authority],
    addTo: (server) => {
      server.add(InvocationServiceDefinition, service.invocations);
      server.add(LogServiceDefinition, service.logs);
      server.add(DispatchServiceDefinition, service.dispatch);
      server.add(TeardownServiceDefinition, service.teardown);
      return [
        InvocationServiceDefinition,
        LogServiceDefinition,
        DispatchServiceDefinition,
        TeardownServiceDefinition,
        ...bus.addTo(server),
      ];
    },
    started: async () => service.start(),
    stop: () => service.stop(),
    close: async () => {
      await bus.close();
      registry.close();
      await db.close();
    },
  };
});
