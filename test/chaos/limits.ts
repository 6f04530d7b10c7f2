/** Limits hold: `node build/test/chaos/limits.js [--short] [--rounds 2] [--invocations 300] [--runtime docker] [--seed N]`. */
import { runProgram } from "./chaos_program.js";
import { runLimits } from "./limit_rounds.js";

const extents = { long: { rounds: 2, invocations: 300 }, short: { rounds: 1, invocations: 100 } };
process.exitCode = await runProgram("chaos of limits", { ...extents, docker: extents }, runLimits);
