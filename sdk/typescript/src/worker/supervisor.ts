/**
 * Entry of the supervisor thread. It holds the connection to the scheduler on an event loop of its own, so that a worker
 * whose user code never gives the loop back still beats, is fenced, is held to its memory, and dies with its server.
 */
import { workerData } from "node:worker_threads";
import { type BootConfig, parseConfig, readLifeline } from "./boot_config.js";
import { killOwnGroup } from "./fence.js";
import type { SupervisorData } from "./messages.js";
import { Supervisor, say } from "./supervise.js";

function die(error: unknown): void {
  say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  killOwnGroup();
}

function readConfig(config: SupervisorData["config"]): BootConfig | Promise<BootConfig> {
  return config === undefined ? readLifeline(killOwnGroup) : parseConfig(new TextDecoder().decode(config));
}

async function start(): Promise<void> {
  const data = workerData as SupervisorData;
  new Supervisor(data, await readConfig(data.config)).start();
}

process.on("uncaughtException", die);
start().catch(die);
