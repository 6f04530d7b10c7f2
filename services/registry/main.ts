/** The registry as a process of its own. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { TeardownServiceDefinition } from "../../gen/multinode/invocation/v1/teardown_service.pb.js";
import { ApiKeyServiceDefinition } from "../../gen/multinode/registry/v1/api_key_service.pb.js";
import { CatalogServiceDefinition } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import { RegistryServiceDefinition } from "../../gen/multinode/registry/v1/registry_service.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { openBus } from "../platform/bus/open_bus.js";
import { systemClock } from "../platform/clock.js";
import { addressSetting, COMMON_SETTINGS } from "../platform/config.js";
import { IdSource } from "../platform/ids.js";
import { runService, serviceSettings } from "../platform/service_process.js";
import { DATABASE_SETTINGS, openDatabase } from "../platform/store/open_database.js";
import { keptFile, writeWholeFile } from "../platform/store/whole_file.js";
import { openBundlesOnDisk } from "./bundles_on_disk.js";
import { createRegistry } from "./service.js";
import { registryMigrations } from "./sql/schema.js";

const settings = serviceSettings("registry", {
  ...COMMON_SETTINGS,
  ...DATABASE_SETTINGS,
  MULTINODE_INVOCATION_ADDRESS: addressSetting,
});

await runService("registry", settings, async ({ folder: { path }, log, connect }) => {
  const invocation = connect(settings.MULTINODE_INVOCATION_ADDRESS);
  const bus = openBus(settings, "registry", log, [invocation]);
  const db = await openDatabase(settings, { name: "registry", folder: path }, registryMigrations);
  const { clock } = db;
  const registry = createRegistry({
    db,
    // By the times of its files, which are this machine's.
    bundles: await openBundlesOnDisk(join(path, "bundles"), systemClock),
    bus,
    clock,
    ids: new IdSource(clock),
    log,
    teardownClient: invocation.client(TeardownServiceDefinition),
    secret: await keptFile(join(path, "secret"), () => randomBytes(32)),
    resolveCacheMs: LIMITS.resolveCacheMs,
  });
  return {
    authorities: [registry.authority],
    addTo: (server) => {
      server.add(RegistryServiceDefinition, registry.registry);
      server.add(ApiKeyServiceDefinition, registry.apiKeys);
      server.add(CatalogServiceDefinition, registry.catalog);
      return [RegistryServiceDefinition, ApiKeyServiceDefinition, CatalogServiceDefinition, ...bus.addTo(server)];
    },
    started: async () => {
      await registry.ensureFirstKey((token) => writeWholeFile(join(path, "api-key"), `${token}\n`));
      registry.start();
    },
    stop: () => registry.stop(),
    close: async () => {
      await bus.close();
      invocation.close();
      await db.close();
    },
  };
});
