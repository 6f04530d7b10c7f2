/**
 * Entry of a worker: the program that a runtime starts, as the leader of a process group of its own. This thread runs user
 * code; `supervisor.ts` is the other one.
 */
import { flushCompileCache } from "node:module";
import { readBoot, startSupervisor } from "./start_supervisor.js";

const boot = readBoot(import.meta.url);
const link = boot.firstWork === undefined ? startSupervisor(boot, undefined) : undefined;

// The rest, with the SDK, is loaded while the other thread is on its way. Where there is work it comes first, so that the two
// threads do not share a processor until that has begun.
void import("./start_runner.js").then(({ startRunner }) => {
  void startRunner(boot, link);
  // Each runtime names a place for compiled code, by NODE_COMPILE_CACHE. Node writes it when a process exits, but workers are
  // killed. Once it is there this does nothing.
  setImmediate(flushCompileCache);
});
