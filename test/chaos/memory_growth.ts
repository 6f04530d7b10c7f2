/** The memory of a server and of its client, before, during and after a load. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connectTarget } from "../harness/connected_target.js";
import type { EndlessLoad } from "./memory_loads.js";
import { RestartableServer } from "./server.js";

export interface MemorySettings {
  /** Source of the project's functions. */
  readonly tasks: string;
  readonly load: EndlessLoad;
  /** An empty folder. */
  readonly folder: string;
  readonly durationMs: number;
  /** Rest before each look. */
  readonly settleMs: number;
}

/** Resident memory, in millions of bytes. */
export interface Growth {
  readonly process: "server" | "client";
  /** Before any load: without the room that V8 takes for young objects once there is much to do. */
  readonly idleMb: number;
  /** After the warm-up. */
  readonly beforeMb: number;
  readonly peakMb: number;
  readonly afterMb: number;
}

/** Part of the duration for which the load runs before its measurement, so that caches and heaps have their size. */
const WARM_UP = 0.25;
const LOOK_INTERVAL_MS = 250;

export async function measureMemory(settings: MemorySettings): Promise<{ did: string; growth: Growth[] }> {
  const { tasks, load, folder, durationMs, settleMs } = settings;
  const server = new RestartableServer(join(folder, "data"));
  const address = await server.start();
  const target = connectTarget(address);
  try {
    const project = await target.deploy({ "main.ts": tasks });
    await delay(settleMs);
    const look = () => ({ server: residentMb(server.pid), client: residentMb(process.pid) });
    const idle = look();
    await load(project, address, durationMs * WARM_UP);
    await delay(settleMs);
    const before = look();
    const peak = { ...before };
    const timer = setInterval(() => {
      const now = look();
      peak.server = Math.max(peak.server, now.server);
      peak.client = Math.max(peak.client, now.client);
    }, LOOK_INTERVAL_MS);
    const did = await load(project, address, durationMs).finally(() => clearInterval(timer));
    await delay(settleMs);
    const after = look();
    const growth = (["server", "client"] as const).map((name) => ({
      process: name,
      idleMb: idle[name],
      beforeMb: before[name],
      peakMb: peak[name],
      afterMb: after[name],
    }));
    return { did, growth };
  } finally {
    await target.close();
    await server.stop();
  }
}

function residentMb(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  if (kib === undefined) throw new Error(`the memory of process ${pid} is not known`);
  return (Number(kib) * 1_024) / 1e6;
}
