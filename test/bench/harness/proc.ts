/** What Linux tells of processes: memory, CPU time, children. */
import { readFileSync } from "node:fs";

/** Clock ticks of /proc/<pid>/stat in a second; 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface ProcessMemory {
  readonly rssKib: number;
  /** Shared pages counted in proportion. */
  readonly pssKib: number;
}

export function memoryOf(pid: number): ProcessMemory {
  return {
    rssKib: kibField(`/proc/${pid}/status`, "VmRSS"),
    pssKib: kibField(`/proc/${pid}/smaps_rollup`, "Pss"),
  };
}

/** CPU time of all threads of a process since its start. */
export function cpuMsOf(pid: number): number {
  const fields = statFields(pid);
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND;
}

/** Children of all threads, direct ones only. */
export function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  return text.split(" ").filter(Boolean).map(Number);
}

/** The fields of stat after the name, which may hold anything, in parentheses. */
function statFields(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

function kibField(file: string, name: string): number {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(readFileSync(file, "utf8"));
  if (match?.[1] === undefined) throw new Error(`${file} has no ${name}`);
  return Number(match[1]);
}
