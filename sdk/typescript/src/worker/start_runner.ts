import type { MessagePort } from "node:worker_threads";
import { captureConsole } from "./console_capture.js";
import { offerSdk } from "./load_code.js";
import { Runner } from "./runner.js";

/** Makes the main thread ready for user code, and does from now on what the supervisor says. */
export function startRunner(port: MessagePort, exitFlag: Int32Array<SharedArrayBuffer>): void {
  const runner = new Runner(port, exitFlag);
  offerSdk();
  captureConsole(() => runner.findLog());
  process.on("uncaughtException", (error) => runner.crash(error));
  process.on("exit", () => runner.leave());
  runner.start();
}
