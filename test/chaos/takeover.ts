/** A scheduler's death costs no attempt: `node build/test/chaos/takeover.js [--short] [--rounds 2] [--invocations 50] [--seed N]`. */
import { runProgram } from "./chaos_program.js";
import { runTakeover } from "./takeover_rounds.js";

const extents = { long: { rounds: 2, invocations: 50 }, short: { rounds: 1, invocations: 10 } };
process.exitCode = await runProgram("chaos of schedulers with workers in containers", extents, runTakeover);
