/** CPU time that each part of a system takes for one piece of work. */
import { cpuMsOf } from "./proc.js";
import type { Figures } from "./statistics.js";

/** Part of a system → its processes at the moment. */
export type Parts = () => Readonly<Record<string, readonly number[]>>;

/** Runs `work`, which answers its figures, and adds `cpu <part>`: CPU milliseconds for each of `count` pieces. */
export async function withCpu<F extends Figures>(parts: Parts, count: number, work: () => Promise<F>): Promise<F> {
  const before = cpuOf(parts);
  const figures = await work();
  const after = cpuOf(parts);
  const cpu = Object.fromEntries(
    [...after].map(([part, ms]) => [`cpu ${part}`, (ms - (before.get(part) ?? 0)) / count]),
  );
  return { ...figures, ...cpu };
}

/** "client 0.31 · server 0.52 · worker 0.20 ms" */
export function describeCpu(figures: Figures): string {
  const parts = Object.entries(figures).filter(([name]) => name.startsWith("cpu "));
  return `${parts.map(([name, ms]) => `${name.slice("cpu ".length)} ${ms.toFixed(3)}`).join(" · ")} ms`;
}

function cpuOf(parts: Parts): Map<string, number> {
  const pids = Object.entries({ client: [process.pid], ...parts() });
  return new Map(pids.map(([part, list]) => [part, list.reduce((sum, pid) => sum + cpuMsOf(pid), 0)]));
}
