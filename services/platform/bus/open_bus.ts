/** The bus of a service that is a process of its own: over NATS where there is one, and else from service to service. */
import type { CompatServiceDefinition, Server } from "nice-grpc";
import { type EventServiceClient, EventServiceDefinition } from "../../../gen/multinode/event/v1/event_service.pb.js";
import type { Logger } from "../log.js";
import type { Caller } from "../rpc/principal.js";
import type { ServiceConnection } from "../rpc/service_client.js";
import type { Bus } from "./bus.js";
import { NatsBus } from "./nats.js";
import { type NatsAddress, refuseUnprotectedNats } from "./nats_address.js";
import { PeerBus } from "./peer.js";

export interface BusSettings {
  readonly MULTINODE_NATS_URL?: readonly NatsAddress[] | undefined;
  readonly MULTINODE_NATS_CA?: string | undefined;
  readonly MULTINODE_INSECURE: "true" | "false";
}

export interface ServiceBus extends Bus {
  /** Adds what the peers call, if they call for events. */
  addTo(server: Server<Caller>): readonly CompatServiceDefinition[];
}

/** `peers` are the services whose events this one needs. */
export function openBus(
  settings: BusSettings,
  service: string,
  log: Logger,
  peers: readonly ServiceConnection[],
): ServiceBus {
  const { MULTINODE_NATS_URL: addresses, MULTINODE_NATS_CA: caFile } = settings;
  if (addresses !== undefined) {
    refuseUnprotectedNats(addresses, settings.MULTINODE_INSECURE === "true");
    return Object.assign(new NatsBus({ addresses, caFile, service, log }), { addTo: () => [] });
  }
  const clients: EventServiceClient[] = peers.map((peer) => peer.client(EventServiceDefinition));
  const bus = new PeerBus(clients);
  return Object.assign(bus, {
    addTo: (server: Server<Caller>) => {
      server.add(EventServiceDefinition, bus.service());
      return [EventServiceDefinition];
    },
  });
}
