/** Runs the chosen measurements one after another, and tells what came out. */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Arguments } from "./arguments.js";
import { thisMachine } from "./harness/machine.js";
import { Processes } from "./harness/processes.js";
import { type Outcome, ratioOf, verdictOf } from "./measurement.js";
import { machineLines, table } from "./report.js";

/** Answers whether all bounds were kept. */
export async function runBench({ quick, chosen, jsonFile }: Arguments, signal: AbortSignal): Promise<boolean> {
  const machine = thisMachine();
  const folder = mkdtempSync(join(tmpdir(), "multinode-bench-"));
  const processes = new Processes();
  const outcomes = new Map<string, Outcome>();
  const interrupted = once(signal, "abort").then(() => {
    throw new Error("interrupted");
  });
  interrupted.catch(() => {}); // heard only while a measurement runs
  console.log(`${machineLines(machine)}${quick ? "\nQuick: fewer samples." : ""}`);
  try {
    for (const measurement of chosen) {
      const outcome = await Promise.race([measurement.measure({ processes, quick, folder }), interrupted]);
      outcomes.set(measurement.name, outcome);
      console.log(table(measurement, outcome));
    }
  } finally {
    await processes.endAll();
    rmSync(folder, { recursive: true, force: true });
  }
  const measurements = [...outcomes].map(([name, { rows, notes }]) => ({
    name,
    rows: rows.map((row) => ({ ...row, ratio: ratioOf(row), verdict: verdictOf(row) })),
    notes,
  }));
  if (jsonFile !== undefined) writeFileSync(jsonFile, `${JSON.stringify({ machine, quick, measurements }, null, 2)}\n`);
  return measurements.every(({ rows }) => rows.every(({ verdict }) => verdict !== "FAIL"));
}
