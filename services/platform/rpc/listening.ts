/** A server that listens, and how it stops. */

import { readFile } from "node:fs/promises";
import type { Server } from "nice-grpc";
import { HealthDefinition, HealthServiceImpl, HealthState } from "nice-grpc-server-health";
import { ServerReflection, ServerReflectionService } from "nice-grpc-server-reflection";
import { packageFile } from "../package_files.js";
import type { Caller } from "./principal.js";

export interface Listening {
  readonly port: number;
  /** Refuses new calls, waits for those under way at most `boundMs`, then breaks them off. */
  stop(boundMs: number): Promise<void>;
}

/** Adds health checking and reflection, and listens. @throws Error with code EADDRINUSE where the port is taken. */
export async function listen(
  server: Server<Caller>,
  address: { host: string; port: number },
  serviceNames: readonly string[],
): Promise<Listening> {
  const health = HealthState();
  server.add(HealthDefinition, HealthServiceImpl(health));
  const descriptors = await readFile(packageFile("descriptors.binpb"));
  server.add(ServerReflectionService, ServerReflection(descriptors, [...serviceNames]));
  const port = await listenOn(server, address);
  return {
    port,
    stop: async (boundMs) => {
      health.setStatus("unhealthy");
      const timer = setTimeout(() => server.forceShutdown(), boundMs);
      await server.shutdown();
      clearTimeout(timer);
    },
  };
}

async function listenOn(server: Server<Caller>, { host, port }: { host: string; port: number }): Promise<number> {
  try {
    return await server.listen(`${host.includes(":") ? `[${host}]` : host}:${port}`);
  } catch (error) {
    if (!String(error).includes("EADDRINUSE")) throw error;
    throw Object.assign(new Error(`port ${port} of ${host} is in use`), { code: "EADDRINUSE" });
  }
}
