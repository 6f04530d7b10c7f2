/** What the programs of the chaos tests share: their arguments, their folder, and their verdict. */
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ChaosArguments, type Extents, parseChaosArguments } from "./chaos_arguments.js";
import type { ChaosSettings } from "./rounds.js";

/** Runs to the end of the process: `[--short] [--rounds N] [--invocations N] [--seed N] [--runtime docker]`. Answers the exit status. */
export async function runProgram(
  name: string,
  extents: Extents,
  run: (settings: ChaosSettings) => Promise<string[]>,
): Promise<number> {
  let chosen: ChaosArguments;
  try {
    chosen = parseChaosArguments(process.argv.slice(2), extents);
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    return 2;
  }
  const { rounds, invocations, seed } = chosen;
  console.log(`${name}: ${rounds} rounds, ${invocations} invocations; repeat it with --seed ${seed}`);

  const folder = await mkdtemp(join(tmpdir(), "multinode-chaos-"));
  await chmod(folder, 0o711); // PostgreSQL runs as a user of its own, within it
  // Servers, workers and what functions start inherit it: so they can be told from all others.
  process.env["TMPDIR"] = folder;
  process.setMaxListeners(100); // each server is to end with this process
  // Servers end when this process does so by itself.
  process.once("SIGINT", () => process.exit(130));
  process.once("SIGTERM", () => process.exit(143));
  const startedAt = performance.now();
  const tell = (line: string) => {
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
    console.log(`${seconds.padStart(6)} s  ${line}`);
  };
  const complaints = await run({ ...chosen, folder, environmentText: `TMPDIR=${folder}`, tell });
  if (complaints.length === 0) {
    await rm(folder, { recursive: true, force: true });
    console.log(`${name}: nothing was lost, changed or left behind`);
    return 0;
  }
  console.error(`${name}: ${complaints.length} complaints with --seed ${seed}; all that was seen is in ${folder}`);
  for (const complaint of complaints.slice(0, 50)) console.error(`  ${complaint}`);
  return 1;
}
