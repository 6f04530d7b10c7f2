/** A service as a process of its own: its data folder, its server, its bounded graceful stop. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { CompatServiceDefinition, Server } from "nice-grpc";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { createLogger, type Logger } from "./log.js";
import { ACCESS } from "./rpc/access.js";
import { listen } from "./rpc/listening.js";
import { refuseUnprotected } from "./rpc/loopback.js";
import type { Authority, Caller } from "./rpc/principal.js";
import { createRpcServer } from "./rpc/server.js";
import { type DataFolder, holdDataFolder } from "./store/data_folder.js";

export interface ServiceSettings {
  readonly MULTINODE_LISTEN: { readonly host: string; readonly port: number };
  readonly MULTINODE_DATA_DIR: string;
  readonly MULTINODE_SERVICE_TOKEN: string;
  readonly MULTINODE_LOG_LEVEL: string;
  readonly MULTINODE_INSECURE: "true" | "false";
}

/** What a service gives, once it is put together. */
export interface ServiceParts {
  readonly authorities: readonly Authority[];
  addTo(server: Server<Caller>): readonly CompatServiceDefinition[];
  /** Called once the server listens. */
  started(port: number): Promise<void>;
  /** Called when no new call comes in any more; ends what `started` began. */
  stop(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Runs until SIGTERM or SIGINT, and then stops within a bound. Says on standard output where it listens. */
export async function runService(
  name: string,
  settings: ServiceSettings,
  make: (folder: DataFolder, log: Logger) => Promise<ServiceParts>,
): Promise<void> {
  const { host, port } = settings.MULTINODE_LISTEN;
  refuseUnprotected(host, settings.MULTINODE_INSECURE === "true");
  const log = createLogger(name, settings.MULTINODE_LOG_LEVEL);
  const folder = holdDataFolder(
    settings.MULTINODE_DATA_DIR,
    `${name} process ${process.pid} since ${new Date().toISOString()}`,
  );
  const parts = await make(folder, log);
  const stopping = new AbortController();
  const authorities = [serviceAuthority(settings.MULTINODE_SERVICE_TOKEN), ...parts.authorities];
  const server = createRpcServer({ log, authorities, access: ACCESS, stopping: stopping.signal });
  const definitions = parts.addTo(server);
  const listening = await listen(server, { host, port }, definitions.map(fullNameOf));
  await parts.started(listening.port);
  process.stdout.write(`${JSON.stringify({ service: name, port: listening.port })}\n`);

  await new Promise<void>((resolve) => {
    process.once("SIGTERM", () => resolve());
    process.once("SIGINT", () => resolve());
  });
  stopping.abort();
  await parts.stop(AbortSignal.timeout(LIMITS.gracefulStopMs / 2));
  await listening.stop(LIMITS.gracefulStopMs / 2);
  await parts.close();
  folder.release();
}

/** Knows the other services of this installation. */
function serviceAuthority(serviceToken: string): Authority {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const expected = digest(serviceToken);
  return async (token) => (timingSafeEqual(digest(token), expected) ? { kind: "service" } : undefined);
}

function fullNameOf(definition: CompatServiceDefinition): string {
  if ("fullName" in definition && typeof definition.fullName === "string") return definition.fullName;
  throw new Error("a service definition has no name");
}
