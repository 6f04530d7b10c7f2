/** What Linux tells of processes: memory, CPU time, children. */
import { readFileSync } from "node:fs";
import { statFields } from "../../harness/process_status.js";

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
  if (fields === undefined) throw new Error(`process ${pid} is gone`);
  return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND;
}

/** Children of all threads, direct ones only. */
export function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
  return text.split(" ").filter(Boolean).map(Number);
}

function kibField(file: string, name: string): number {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(readFileSync(file, "utf8"));
  if (match?.[1] === undefined) throw new Error(`${file} has no ${name}`);
  return Number(match[1]);
}
