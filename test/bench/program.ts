/**
 * A benchmark as a program: some measurements, one after the other.
 *
 * Exit status 0: every bound was kept; 1: one was not, or a measurement failed; 2: the arguments were wrong; 130: Ctrl-C.
 */
import { type Arguments, parseArguments } from "./arguments.js";
import type { Measurement } from "./measurement.js";
import { measureHere, runBench } from "./run.js";

export async function runProgram(measurements: readonly Measurement[]): Promise<never> {
  const interruption = new AbortController();
  process.once("SIGINT", () => interruption.abort());
  process.once("SIGTERM", () => interruption.abort());

  let chosen: Arguments | undefined;
  try {
    chosen = parseArguments(process.argv.slice(2), measurements);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
  }
  if (chosen === undefined) process.exit(2);
  try {
    process.exitCode = (await run(chosen, interruption.signal)) ? 0 : 1;
  } catch (error) {
    console.error(interruption.signal.aborted ? "Interrupted." : error);
    process.exitCode = interruption.signal.aborted ? 130 : 1;
  }
  // Clients of an interrupted measurement may still be connected.
  process.exit();
}

async function run(chosen: Arguments, signal: AbortSignal): Promise<boolean> {
  const [program = "", [measurement]] = [process.argv[1], chosen.chosen];
  if (process.send === undefined || measurement === undefined) return await runBench(program, chosen, signal);
  const outcome = await measureHere(measurement, chosen.quick, signal);
  // It is sent whole before this process ends.
  await new Promise((resolve) => process.send?.(outcome, resolve));
  return true;
}
