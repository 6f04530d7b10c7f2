/** A service as a process of its own: its data folder, its servers, its certificates, its bounded graceful stop. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { CompatServiceDefinition, Server } from "nice-grpc";
import type { z } from "zod";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { readSettings } from "./config.js";
import { Heartbeat } from "./heartbeat.js";
import { createLogger, type Logger } from "./log.js";
import { observeCalls } from "./metrics/call_metrics.js";
import type { Metrics } from "./metrics/metrics.js";
import { openMetrics } from "./metrics/open_metrics.js";
import { ACCESS } from "./rpc/access.js";
import { type Listening, listen } from "./rpc/listening.js";
import { refuseUnprotected } from "./rpc/loopback.js";
import type { Authority, Caller } from "./rpc/principal.js";
import { createRpcServer } from "./rpc/server.js";
import { connectToService, type ServiceConnection } from "./rpc/service_client.js";
import { openCertificates, refuseUnprotectedPeer, type TlsSettings } from "./rpc/tls_settings.js";
import { SettingsError } from "./settings_error.js";
import { type DataFolder, holdDataFolder } from "./store/data_folder.js";

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface ServiceSettings extends TlsSettings {
  readonly MULTINODE_LISTEN: Address;
  readonly MULTINODE_DATA_DIR: string;
  readonly MULTINODE_SERVICE_TOKEN: string;
  readonly MULTINODE_LOG_LEVEL: string;
  readonly MULTINODE_HEALTH_FILE?: string | undefined;
  readonly MULTINODE_METRICS_LISTEN?: Address | undefined;
  readonly MULTINODE_INSECURE: "true" | "false";
}

type AddServices = (server: Server<Caller>) => readonly CompatServiceDefinition[];

/** What a service gives, once it is put together. */
export interface ServiceParts {
  readonly authorities: readonly Authority[];
  readonly addTo: AddServices;
  /** A listener beside the main one, for callers that have no certificate. */
  readonly open?: { readonly address: Address; readonly addTo: AddServices } | undefined;
  /** Called once the servers listen. `openPort` is that of `open`, and else the main one. */
  started(openPort: number): Promise<void>;
  /** Called when no new call comes in any more; ends what `started` began. */
  stop(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** What a service is put together from. */
export interface ServiceFrame {
  readonly folder: DataFolder;
  readonly log: Logger;
  /** Undefined: nobody asks for them. */
  readonly metrics: Metrics | undefined;
  readonly usesTls: boolean;
  /** Another service, at "host:port". */
  readonly connect: (address: string) => ServiceConnection;
}

/** A stop that takes longer than this in all is given up, and the process ends as it is. */
const STOP_BOUND_MS = LIMITS.gracefulStopMs + 5_000;

/** A process that has stopped ends by itself. One that has not by then, because something is left over, is ended. */
const LEFT_OVER_MS = 1_000;

/** What the environment says. A service that cannot take it says why, and ends. */
export function serviceSettings<T extends z.ZodRawShape>(name: string, shape: T): z.infer<z.ZodObject<T>> {
  try {
    return readSettings(shape, process.env);
  } catch (error) {
    return endWithoutStart(name, error);
  }
}

/** Runs until SIGTERM or SIGINT, and then stops within a bound. Says on standard output where it listens. */
export async function runService(
  name: string,
  settings: ServiceSettings,
  make: (frame: ServiceFrame) => Promise<ServiceParts>,
): Promise<void> {
  const log = createLogger(name, settings.MULTINODE_LOG_LEVEL);
  const service = await startService(name, settings, make, log).catch((error) => endWithoutStart(name, error));
  const { parts, listenings, stopping, stopped, heartbeat, certificates, folder, measured } = service;

  log.info({ signal: await stopped }, "stopping");
  const startedAt = performance.now();
  const giveUp = setTimeout(() => {
    log.fatal({ boundMs: STOP_BOUND_MS }, "the stop takes too long; ending without it");
    process.exit(1);
  }, STOP_BOUND_MS);
  // It holds up nothing, and ends the process also where something that is left over would keep it.
  giveUp.unref();
  for (const listening of listenings) listening.serving(false);
  heartbeat?.stop();
  stopping.abort();
  await parts.stop(AbortSignal.timeout(LIMITS.gracefulStopMs / 2));
  await Promise.all(listenings.map((listening) => listening.stop(LIMITS.gracefulStopMs / 2)));
  await parts.close();
  measured?.close();
  certificates?.close();
  folder.release();
  log.info({ ms: Math.round(performance.now() - startedAt) }, "stopped");
  clearTimeout(giveUp);
  setTimeout(() => {
    const left = process.getActiveResourcesInfo();
    log.warn({ left }, "something is left over that would keep the process; ending it");
    process.exit(0);
  }, LEFT_OVER_MS).unref();
}

/** Resolves when the service has started, or when it is told to stop before that. */
async function startService(
  name: string,
  settings: ServiceSettings,
  make: (frame: ServiceFrame) => Promise<ServiceParts>,
  log: Logger,
) {
  const healthFile = settings.MULTINODE_HEALTH_FILE;
  const heartbeat = healthFile === undefined ? undefined : new Heartbeat(healthFile, log);
  const certificates = openCertificates(settings, log);
  const mayLeaveMachine = certificates !== undefined || settings.MULTINODE_INSECURE === "true";
  const mayListen = ({ host }: Address) => refuseUnprotected(host, mayLeaveMachine, "say MULTINODE_INSECURE=true");
  mayListen(settings.MULTINODE_LISTEN);
  const folder = holdDataFolder(
    settings.MULTINODE_DATA_DIR,
    `${name} process ${process.pid} since ${new Date().toISOString()}`,
  );
  const connect = (address: string) => {
    refuseUnprotectedPeer(address, mayLeaveMachine);
    return connectToService(address, settings.MULTINODE_SERVICE_TOKEN, certificates?.client());
  };
  const measured = await openMetrics(settings.MULTINODE_METRICS_LISTEN, log);
  const metrics = measured?.metrics;
  const parts = await make({ folder, log, metrics, usesTls: certificates !== undefined, connect });
  if (parts.open !== undefined) mayListen(parts.open.address);
  const stopping = new AbortController();
  const authorities = [serviceAuthority(settings.MULTINODE_SERVICE_TOKEN), ...parts.authorities];
  const observe = metrics && observeCalls(metrics);
  const serve = async (address: Address, addTo: AddServices, anyClient: boolean): Promise<Listening> => {
    const server = createRpcServer({ log, authorities, access: ACCESS, stopping: stopping.signal, observe });
    return await listen(server, address, addTo(server).map(fullNameOf), certificates?.server({ anyClient }));
  };
  const main = await serve(settings.MULTINODE_LISTEN, parts.addTo, false);
  const open = parts.open && (await serve(parts.open.address, parts.open.addTo, true));
  const listenings = open === undefined ? [main] : [main, open];
  const stopped = untilSignal();
  const starting = parts.started(open?.port ?? main.port);
  if ((await Promise.race([starting, stopped])) === undefined) {
    endOnFault(log);
    for (const listening of listenings) listening.serving(true);
    heartbeat?.start();
    const ports = {
      port: main.port,
      ...(open && { openPort: open.port }),
      ...(measured && { metricsPort: measured.port }),
    };
    log.info({ ...ports, tls: certificates !== undefined }, "listening");
    // Whatever the level of the log is: whoever has started it waits for this.
    process.stdout.write(`${JSON.stringify({ level: 30, time: Date.now(), msg: "ready", service: name, ...ports })}\n`);
  } else {
    // Stopped while it waits for another service: the start ends with the stop.
    starting.catch(() => undefined);
  }
  return { parts, listenings, stopping, stopped, heartbeat, certificates, folder, measured };
}

/** A restart does not help where a setting is wrong, so that is said in a line for each, and not by where in the program it was found. */
function endWithoutStart(name: string, error: unknown): never {
  // Whatever the level of the log is to be: it may be what is wrong, or "silent".
  const log = createLogger(name, "fatal");
  if (error instanceof SettingsError)
    for (const problem of error.problems) log.fatal({ problem }, "a setting is wrong");
  else log.fatal({ err: error }, "the service cannot start");
  process.exit(1);
}

async function untilSignal(): Promise<NodeJS.Signals> {
  return await new Promise((resolve) => {
    process.once("SIGTERM", resolve);
    process.once("SIGINT", resolve);
  });
}

/** What nobody caught leaves a service in a state that nobody knows: it says so and ends, to be started again. */
function endOnFault(log: Logger): void {
  process.on("uncaughtException", (err) => {
    log.fatal({ err }, "a fault that nobody caught");
    process.exit(1);
  });
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
