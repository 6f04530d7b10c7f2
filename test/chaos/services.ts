/** kill -9 of one service after the other: `node build/test/chaos/services.js [--short] [--rounds 15] [--seed N]`. */
import { runProgram } from "./chaos_program.js";
import { runServiceChaos } from "./service_rounds.js";

const extents = { long: { rounds: 15, invocations: 250 }, short: { rounds: 3, invocations: 45 } };
process.exitCode = await runProgram("chaos of the services", extents, runServiceChaos);
