/** A cluster killed at will: `node build/test/chaos/cluster.js [--short] [--rounds 60] [--invocations 2000] [--runtime docker] [--seed N]`. */
import { runProgram } from "./chaos_program.js";
import { runClusterChaos } from "./cluster_rounds.js";

const extents = {
  long: { rounds: 60, invocations: 2_000 },
  short: { rounds: 8, invocations: 60 },
  docker: { long: { rounds: 40, invocations: 200 }, short: { rounds: 10, invocations: 30 } },
};
process.exitCode = await runProgram("chaos of a cluster", extents, runClusterChaos);
