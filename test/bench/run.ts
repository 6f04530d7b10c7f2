/** Runs the chosen measurements one after another, and tells what came out. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Arguments } from "./arguments.js";
import { thisMachine } from "./harness/machine.js";
import { Processes } from "./harness/processes.js";
import { type Measurement, type Outcome, ratioOf, verdictOf } from "./measurement.js";
import { machineLines, table } from "./report.js";

/**
 * Answers whether all bounds were kept. Each measurement has a process of its own, for which `program` is started again: what one
 * does would leave its mark on the compiled code and the memory with which the next one calls.
 */
export async function runBench(
  program: string,
  { quick, chosen, jsonFile }: Arguments,
  signal: AbortSignal,
): Promise<boolean> {
  const machine = thisMachine();
  const outcomes = new Map<string, Outcome>();
  console.log(`${machineLines(machine)}${quick ? "\nQuick: fewer samples." : ""}`);
  for (const measurement of chosen) {
    const outcome = await measureApart(program, measurement, quick, signal);
    outcomes.set(measurement.name, outcome);
    console.log(table(measurement, outcome));
  }
  const measurements = [...outcomes].map(([name, { rows, notes }]) => ({
    name,
    rows: rows.map((row) => ({ ...row, ratio: ratioOf(row), verdict: verdictOf(row) })),
    notes,
  }));
  if (jsonFile !== undefined) writeFileSync(jsonFile, `${JSON.stringify({ machine, quick, measurements }, null, 2)}\n`);
  return measurements.every(({ rows }) => rows.every(({ verdict }) => verdict !== "FAIL"));
}

async function measureApart(
  program: string,
  { name }: Measurement,
  quick: boolean,
  signal: AbortSignal,
): Promise<Outcome> {
  signal.throwIfAborted();
  const args = ["--only", name, ...(quick ? ["--quick"] : [])];
  const child = fork(program, args, { serialization: "advanced" });
  // From a terminal it has been interrupted already: by this it is not killed before it has ended what it started.
  signal.addEventListener("abort", () => child.kill("SIGTERM"));
  let outcome: Outcome | undefined;
  child.on("message", (message) => {
    outcome = message as Outcome;
  });
  const [code] = (await once(child, "exit")) as [number | null];
  if (outcome === undefined) throw new Error(`${name} was not measured: its process ended with ${String(code)}`);
  return outcome;
}

/** Measures in this process. */
export async function measureHere(measurement: Measurement, quick: boolean, signal: AbortSignal): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "multinode-bench-"));
  const processes = new Processes();
  const interrupted = once(signal, "abort").then(() => {
    throw new Error("interrupted");
  });
  interrupted.catch(() => {}); // heard only while it is measured
  try {
    return await Promise.race([measurement.measure({ processes, quick, folder }), interrupted]);
  } finally {
    await processes.endAll();
    rmSync(folder, { recursive: true, force: true });
  }
}
