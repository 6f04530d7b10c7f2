/**
 * Entry of a worker: the program that a runtime starts, as the leader of a process group of its own. This thread runs user
 * code; `supervisor.ts` is the other one.
 */
import { enableCompileCache, flushCompileCache } from "node:module";
import { startSupervisor } from "./start_supervisor.js";

enableCompileCache();
const { port, exitFlag } = startSupervisor(import.meta.url);

// The rest, with the SDK, is loaded while the other thread is on its way.
const [{ Runner }, { captureConsole }, { offerSdk }] = await Promise.all([
  import("./runner.js"),
  import("./console_capture.js"),
  import("./load_code.js"),
]);
const runner = new Runner(port, exitFlag);
offerSdk();
captureConsole(() => runner.findLog());
process.on("uncaughtException", (error) => runner.crash(error));
process.on("exit", () => runner.leave());
runner.start();
// Node writes its cache when a process exits, but workers are killed. Once it is there this does nothing.
setImmediate(flushCompileCache);
