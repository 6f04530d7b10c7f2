/**
 * Memory under loads that never end: `node --max-semi-space-size=8 build/test/chaos/memory.js [--short] [--seconds 60]`. The flag is
 * for the client, which this program is: docs/performance.md says why.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { repositoryFile } from "../harness/repository.js";
import { measureMemory } from "./memory_growth.js";
import { endlessMap, neverReadWatches } from "./memory_loads.js";

/** Growth that caches and a lazy garbage collector may need. */
const MOST_GROWTH_MB = 150;

const { values } = parseArgs({ options: { short: { type: "boolean", default: false }, seconds: { type: "string" } } });
const seconds = Number(values.seconds ?? (values.short ? 10 : 60));
const settleMs = values.short ? 2_000 : 5_000;
const tasks = await readFile(repositoryFile("test/chaos/memory_tasks/main.ts"), "utf8");

function signed(megabytes: number): string {
  return `${megabytes >= 0 ? "+" : ""}${megabytes.toFixed(0)}`;
}

for (const [name, load] of [
  ["watchers that never read", neverReadWatches],
  ["map over an endless iterable", endlessMap],
] as const) {
  const folder = await mkdtemp(join(tmpdir(), "multinode-memory-"));
  try {
    const { did, growth } = await measureMemory({ tasks, load, folder, durationMs: seconds * 1_000, settleMs });
    console.log(`memory: ${name} for ${seconds} s: ${did}`);
    for (const { process, idleMb, beforeMb, peakMb, afterMb } of growth) {
      const grew = afterMb - beforeMb;
      const sinceIdle = afterMb - idleMb;
      const isTooMuch = grew > MOST_GROWTH_MB;
      if (isTooMuch) globalThis.process.exitCode = 1;
      console.log(
        `  ${process.padEnd(7)} ${idleMb.toFixed(0)} MB idle, ${beforeMb.toFixed(0)} before, ${peakMb.toFixed(0)} at most, ${afterMb.toFixed(0)} after: ` +
          `${signed(grew)} MB${isTooMuch ? `, more than ${MOST_GROWTH_MB}` : ""}; ${signed(sinceIdle)} from idle`,
      );
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
