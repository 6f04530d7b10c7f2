/** Processes of this machine, as its kernel shows them. */
import { readdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";

/** Its user, capabilities and whatever else `/proc/<pid>/status` has, by name. */
export async function processStatus(pid: number): Promise<Record<string, string>> {
  const lines = (await readFile(`/proc/${pid}/status`, "utf8")).split("\n");
  return Object.fromEntries(lines.map((line) => line.split(":\t"))) as Record<string, string>;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Whether every thread is stopped: one that is not may still answer. False: or it is gone. */
export function standsStill(pid: number | undefined): boolean {
  try {
    const tasks = `/proc/${pid}/task`;
    return readdirSync(tasks).every((task) => /\) T /.test(readFileSync(`${tasks}/${task}/stat`, "utf8")));
  } catch {
    return false;
  }
}
