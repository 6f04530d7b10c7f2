/** Processes of this machine, as its kernel shows them. */
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
