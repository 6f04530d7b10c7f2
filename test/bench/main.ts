/**
 * Speed against yardsticks that run in the same session, on the same machine: absolute figures drift, ratios hold.
 *
 *     node build/test/bench/main.js [--quick] [--only call,map,…] [--json FILE]
 */
import { echo } from "./echo.js";
import { freshWorker } from "./fresh_worker.js";
import { map } from "./map.js";
import { runProgram } from "./program.js";
import { serverMemory } from "./server_memory.js";
import { stored } from "./stored.js";
import { warmCall } from "./warm_call.js";
import { yieldLatency } from "./yield_latency.js";

await runProgram([echo, warmCall, map, yieldLatency, freshWorker, serverMemory, stored]);
