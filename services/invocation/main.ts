/** The invocation service as a process of its own. */
import { EventServiceDefinition } from "../../gen/multinode/event/v1/event_service.pb.js";
import { DispatchServiceDefinition } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { InvocationServiceDefinition } from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { LogServiceDefinition } from "../../gen/multinode/invocation/v1/log_service.pb.js";
import { TeardownServiceDefinition } from "../../gen/multinode/invocation/v1/teardown_service.pb.js";
import { CatalogServiceDefinition } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import { PeerBus } from "../platform/bus/peer.js";
import { systemClock } from "../platform/clock.js";
import { addressSetting, COMMON_SETTINGS, readSettings } from "../platform/config.js";
import { IdSource } from "../platform/ids.js";
import { remoteKeyAuthority } from "../platform/rpc/remote_authority.js";
import { connectToService } from "../platform/rpc/service_client.js";
import { runService } from "../platform/service_process.js";
import { DATABASE_SETTINGS, openDatabase } from "../platform/store/open_database.js";
import { createInvocationService } from "./service.js";
import { MIGRATIONS } from "./sql/schema.js";

const settings = readSettings(
  { ...COMMON_SETTINGS, ...DATABASE_SETTINGS, MULTINODE_REGISTRY_ADDRESS: addressSetting },
  process.env,
);

await runService("invocation", settings, async ({ path }, log) => {
  const clock = systemClock;
  const registry = connectToService(settings.MULTINODE_REGISTRY_ADDRESS, settings.MULTINODE_SERVICE_TOKEN);
  const catalog = registry.client(CatalogServiceDefinition);
  const bus = new PeerBus([registry.client(EventServiceDefinition)]);
  const db = await openDatabase(settings, { name: "invocation", folder: path }, MIGRATIONS);
  const service = await createInvocationService({ db, bus, clock, ids: new IdSource(clock), log, catalog });
  return {
    authorities: [remoteKeyAuthority(catalog), service.authority],
    addTo: (server) => {
      server.add(InvocationServiceDefinition, service.invocations);
      server.add(LogServiceDefinition, service.logs);
      server.add(DispatchServiceDefinition, service.dispatch);
      server.add(TeardownServiceDefinition, service.teardown);
      server.add(EventServiceDefinition, bus.service());
      return [
        InvocationServiceDefinition,
        LogServiceDefinition,
        DispatchServiceDefinition,
        TeardownServiceDefinition,
        EventServiceDefinition,
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
