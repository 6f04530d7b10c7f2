import { captureConsole } from "./console_capture.js";
import { prepare } from "./first_work.js";
import { isOfInterruption } from "./interruption.js";
import { offerSdk } from "./load_code.js";
import { Runner } from "./runner.js";
import { type Boot, type SupervisorLink, startSupervisor } from "./start_supervisor.js";

/**
 * Makes the main thread ready for user code, and does from now on what the supervisor says. Starts that thread where it is
 * not on its way: before any user code.
 */
export async function startRunner(boot: Boot, link: SupervisorLink | undefined): Promise<void> {
  const first = boot.firstWork && (await prepare(boot.firstWork));
  const { port, flags } =
    link ?? startSupervisor(boot, first && { ...first.work.assign, memoryBytes: first.work.memoryBytes });
  const runner = new Runner(port, flags);
  offerSdk();
  captureConsole(() => runner.findLog());
  process.on("uncaughtException", (error, origin) => {
    if (origin !== "unhandledRejection" || !isOfInterruption(error)) runner.crash(error);
  });
  process.on("exit", () => runner.leave());
  runner.start();
  if (first !== undefined) runner.begin(first);
}
