/**
 * Speed against yardsticks that run in the same session, on the same machine: absolute figures drift, ratios hold.
 *
 *     node build/test/bench/main.js [--quick] [--only call,map,…] [--json FILE]
 *
 * Exit status 0: every bound was kept; 1: one was not, or a measurement failed; 2: the arguments were wrong; 130: Ctrl-C.
 */
import { type Arguments, parseArguments } from "./arguments.js";
import { echo } from "./echo.js";
import { freshWorker } from "./fresh_worker.js";
import { map } from "./map.js";
import { runBench } from "./run.js";
import { serverMemory } from "./server_memory.js";
import { stored } from "./stored.js";
import { warmCall } from "./warm_call.js";
import { yieldLatency } from "./yield_latency.js";

const MEASUREMENTS = [echo, warmCall, map, yieldLatency, freshWorker, serverMemory, stored];

const interruption = new AbortController();
process.once("SIGINT", () => interruption.abort());
process.once("SIGTERM", () => interruption.abort());

let chosen: Arguments | undefined;
try {
  chosen = parseArguments(process.argv.slice(2), MEASUREMENTS);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
}
if (chosen === undefined) process.exit(2);
try {
  process.exitCode = (await runBench(chosen, interruption.signal)) ? 0 : 1;
} catch (error) {
  console.error(interruption.signal.aborted ? "Interrupted." : error);
  process.exitCode = interruption.signal.aborted ? 130 : 1;
}
// Clients of an interrupted measurement may still be connected.
process.exit();
