/** What Linux tells of the processes of a test. */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { statFields } from "../harness/process_status.js";

export interface ProcessName {
  readonly pid: number;
  /** Tells it from a later process with the same number. */
  readonly startedAt: string;
}

/** Direct children of a process; none where it is gone. */
export function childrenOf(parentPid: number): ProcessName[] {
  return allPids().flatMap((pid) => {
    const fields = statFields(pid);
    const startedAt = fields?.[19];
    return startedAt !== undefined && Number(fields?.[1]) === parentPid ? [{ pid, startedAt }] : [];
  });
}

export function isAlive({ pid, startedAt }: ProcessName): boolean {
  const fields = statFields(pid);
  return fields?.[19] === startedAt && fields[0] !== "Z";
}

/** Processes that were born with this text in their environment, this one and its direct children apart. */
export function processesWith(environmentText: string): string[] {
  return allPids().flatMap((pid) => {
    const fields = statFields(pid);
    if (fields === undefined || fields[0] === "Z" || pid === process.pid || Number(fields[1]) === process.pid)
      return [];
    const environment = readOrEmpty(`/proc/${pid}/environ`);
    if (!environment.split("\0").includes(environmentText)) return [];
    return [`process ${pid}: ${readOrEmpty(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim()}`];
  });
}

/** Signals it unless it is gone. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Resolves as soon as `holds`, or after the bound. */
export async function until(holds: () => boolean, boundMs: number): Promise<boolean> {
  const endsAt = performance.now() + boundMs;
  while (!holds()) {
    if (performance.now() >= endsAt) return false;
    await delay(20);
  }
  return true;
}

function allPids(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
