/** Process groups: who leads one, and ending it whole. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

/** Where nobody asks about orphans that have ended, as in a container without an init, they stay members for ever. */
const LONGEST_END_MS = 1_000;
const LOOK_INTERVAL_MS = 2;

export interface GroupLeader {
  readonly pid: number;
  /** When the process started, in the terms of its system; tells it from a later one with the same number. */
  readonly startedAt: string;
}

/** Undefined where no such process exists. */
export function leaderOf(pid: number): GroupLeader | undefined {
  const startedAt = process.platform === "linux" ? startTimeOnLinux(pid) : startTimeByPs(pid);
  return startedAt === undefined ? undefined : { pid, startedAt };
}

/**
 * Kills every process of the group by force, unless its number belongs to another process by now. Answers false where all
 * that is left of it are processes of another user, such as what `sudo` runs: they are not ours to end.
 */
export function killGroup(leader: GroupLeader): boolean {
  const now = leaderOf(leader.pid);
  // Without its leader the group's number is still taken, as long as any member lives.
  if (now !== undefined && now.startedAt !== leader.startedAt) return true;
  try {
    process.kill(-leader.pid, "SIGKILL");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EPERM") return false;
    if (code !== "ESRCH") throw error;
  }
  return true;
}

/** Resolves when a group that was killed has no member any more: each ends when the kernel next gives it a turn. */
export async function groupEnded({ pid }: GroupLeader): Promise<void> {
  const giveUpAt = performance.now() + LONGEST_END_MS;
  while (hasMembers(pid) && performance.now() < giveUpAt) await delay(LOOK_INTERVAL_MS);
}

function hasMembers(group: number): boolean {
  try {
    process.kill(-group, 0);
    return true;
  } catch {
    return false;
  }
}

function startTimeOnLinux(pid: number): string | undefined {
  try {
    // Field 22 of /proc/<pid>/stat, counted after the name, which may hold anything, in parentheses.
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}

function startTimeByPs(pid: number): string | undefined {
  try {
    return execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).trim() || undefined;
  } catch {
    return undefined;
  }
}
