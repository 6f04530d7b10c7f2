/** The size of a worker where it keeps the limits that it was started with: its limits as one word, to be compared. */
import type { WorkerResources } from "./runtime/runtime.js";

/** Of workers whose limits are set when they are bound: they serve functions of all sizes. */
export const ANY_SIZE = "";

export function sizeOf({ cpu, memoryBytes }: WorkerResources): string {
  return `${cpu} ${memoryBytes}`;
}

export function resourcesOf(size: string): WorkerResources | undefined {
  if (size === ANY_SIZE) return undefined;
  const [cpu, memoryBytes] = size.split(" ").map(Number);
  if (cpu === undefined || memoryBytes === undefined) throw new Error(`"${size}" is no size of a worker`);
  return { cpu, memoryBytes };
}
