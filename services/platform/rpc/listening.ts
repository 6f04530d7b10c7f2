/** A server that listens, and how it stops. */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import type { ServerCredentials } from "@grpc/grpc-js";
import type { Server } from "nice-grpc";
import { HealthDefinition, HealthServiceImpl, HealthState } from "nice-grpc-server-health";
import { ServerReflection, ServerReflectionService } from "nice-grpc-server-reflection";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { packageFile } from "../package_files.js";
import type { Caller } from "./principal.js";

/** How long connections that were broken off may take to be gone. */
const BREAK_OFF_MS = 500;

export interface Listening {
  readonly port: number;
  /** Says by health checking whether calls are welcome. False at the beginning. */
  serving(isServing: boolean): void;
  /** Refuses new calls, waits for those under way at most `boundMs`, then breaks them off. */
  stop(boundMs: number): Promise<void>;
}

/**
 * Adds health checking and reflection, and listens, in plain text where there are no credentials.
 *
 * @throws Error with code EADDRINUSE where the port is taken.
 */
export async function listen(
  server: Server<Caller>,
  address: { host: string; port: number },
  serviceNames: readonly string[],
  credentials?: ServerCredentials,
): Promise<Listening> {
  const health = HealthState();
  health.setMaxListeners(LIMITS.openStreams); // one for each stream that watches it
  const serving = (isServing: boolean) => {
    for (const name of ["", ...serviceNames]) health.setStatus(isServing ? "healthy" : "unhealthy", name);
  };
  serving(false);
  server.add(HealthDefinition, HealthServiceImpl(health));
  const descriptors = await readFile(packageFile("descriptors.binpb"));
  server.add(ServerReflectionService, ServerReflection(descriptors, [...serviceNames]));
  const connections = new Connections();
  const port = await listenOn(server, address, credentials);
  connections.port = port;
  return {
    port,
    serving,
    stop: async (boundMs) => {
      serving(false);
      const over = Promise.withResolvers<void>();
      const timers = [
        setTimeout(() => connections.destroy(), boundMs),
        setTimeout(() => over.resolve(), boundMs + BREAK_OFF_MS),
      ];
      // The library may wait for ever for a connection that broke in this moment.
      await Promise.race([server.shutdown(), over.promise]);
      for (const timer of timers) clearTimeout(timer);
      connections.stop();
    },
  };
}

/** The connections of one server. The library gives no way to break them off while its channelz is switched off. */
class Connections {
  /** Known once the server listens. */
  port = 0;
  readonly #sockets = new Set<Socket>();
  readonly #accepted = (message: unknown) => {
    const { socket } = message as { socket: Socket };
    if (socket.localPort !== this.port) return;
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  };

  constructor() {
    subscribe("net.server.socket", this.#accepted);
  }

  destroy(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  stop(): void {
    unsubscribe("net.server.socket", this.#accepted);
  }
}

async function listenOn(
  server: Server<Caller>,
  { host, port }: { host: string; port: number },
  credentials: ServerCredentials | undefined,
): Promise<number> {
  try {
    if (port !== 0) await tryPort(host, port);
    return await server.listen(`${host.includes(":") ? `[${host}]` : host}:${port}`, credentials);
  } catch (error) {
    if (!String(error).includes("EADDRINUSE")) throw error;
    throw Object.assign(new Error(`port ${port} of ${host} is in use`), { code: "EADDRINUSE" });
  }
}

/** The library tells of a port that is taken on the console too, which is not its to write to: so it is asked of none. */
async function tryPort(host: string, port: number): Promise<void> {
  const probe = createServer();
  probe.listen({ host, port, exclusive: true });
  await once(probe, "listening");
  probe.close();
  await once(probe, "close");
}
