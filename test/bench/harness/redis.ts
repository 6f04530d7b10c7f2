/** A Redis server of the benchmark's own, with an append-only file as durable as asked for. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../harness/free_port.js";
import type { Bench } from "../measurement.js";
import type { RunningProcess } from "./processes.js";

/** `always` syncs the file before it answers, as our server does; `everysec` may lose the last second. */
export type AppendFsync = "always" | "everysec";

export interface Redis {
  readonly port: number;
  readonly process: RunningProcess;
}

export async function startRedis({ processes, folder }: Bench, appendFsync: AppendFsync): Promise<Redis> {
  const port = await freePort();
  const dir = join(folder, `redis-${port}`);
  mkdirSync(dir, { recursive: true });
  const options = { port, bind: "127.0.0.1", dir, save: "", appendonly: "yes", appendfsync: appendFsync };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const redis = processes.spawn("redis-server", args);
  try {
    await redis.line(/Ready to accept connections/);
  } catch (error) {
    throw new Error("redis-server is needed as a yardstick (Debian: apt-get install redis-server)", { cause: error });
  }
  return { port, process: redis };
}
