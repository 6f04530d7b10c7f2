/** Processes of this machine, as its kernel shows them. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";

/** Its user, capabilities and whatever else `/proc/<pid>/status` has, by name. */
export async function processStatus(pid: number): Promise<Record<string, string>> {
  const lines = (await readFile(`/proc/${pid}/status`, "utf8")).split("\n");
  return Object.fromEntries(lines.map((line) => line.split(":\t"))) as Record<string, string>;
}

/** The fields of stat after the name, which may hold anything, in parentheses: state, parent, ..., start time at 19. */
export function statFields(pid: number): string[] | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined; // it is gone
  }
}

/** A process that has ended, and that nobody has asked about, is a zombie: it does not live. */
export function isAlive(pid: number): boolean {
  if (existsSync("/proc")) return !/^[ZX]?$/.test(statFields(pid)?.[0] ?? "");
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
