/**
 * Entry of a worker: the program that a runtime starts, as the leader of a process group of its own. This thread runs user
 * code; `supervisor.ts` is the other one.
 */
import { enableCompileCache, flushCompileCache } from "node:module";
import { startSupervisor } from "./start_supervisor.js";

enableCompileCache();
const { port, exitFlag } = startSupervisor(import.meta.url);

// The rest, with the SDK, is loaded while the other thread is on its way.
void import("./start_runner.js").then(({ startRunner }) => {
  startRunner(port, exitFlag);
  // Node writes its cache when a process exits, but workers are killed. Once it is there this does nothing.
  setImmediate(flushCompileCache);
});
