/** kill -9 of `multinode up`: `node build/test/chaos/main.js [--short] [--rounds 30] [--invocations 500] [--seed N]`. */
import { runProgram } from "./chaos_program.js";
import { runChaos } from "./rounds.js";

const extents = { long: { rounds: 30, invocations: 500 }, short: { rounds: 4, invocations: 60 } };
process.exitCode = await runProgram("chaos", extents, runChaos);
