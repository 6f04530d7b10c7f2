import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { type BootFile, readBootFile } from "./boot_config.js";
import { killOwnGroup } from "./fence.js";
import { type FirstExecution, type Flags, newFlags, type SupervisorData } from "./messages.js";
import { VISIBLE_VARIABLES } from "./worker_flags.js";

/** What user code keeps of the worker's own environment. Its own variables are added when the worker is bound. */
const KEPT_VARIABLES = new Set(VISIBLE_VARIABLES);

/** What this process was started with. */
export interface Boot extends Partial<BootFile> {
  /** URL of the running entry: `worker.cjs` of the package or `main.js` of the plain build. */
  readonly mainUrl: string;
}

export interface SupervisorLink {
  readonly port: MessagePort;
  readonly flags: Flags;
}

/** Reads what the runtime has for this process, and takes from the environment everything that is not for user code. */
export function readBoot(mainUrl: string): Boot {
  const bootFile = process.env["MULTINODE_WORKER_CONFIG"];
  // In an image of the project's own, its variables are for user code: whatever is there that is not the worker's.
  const isProjects = process.env["MULTINODE_KEEP_ENVIRONMENT"] === "true";
  for (const name of Object.keys(process.env)) {
    const isKept = isProjects ? !isWorkers(name) : KEPT_VARIABLES.has(name);
    if (!isKept) delete process.env[name];
  }
  return { mainUrl, ...(bootFile === undefined ? {} : readBootFile(bootFile)) };
}

/** @param firstWork what this thread begins with */
export function startSupervisor({ mainUrl, config }: Boot, firstWork: FirstExecution | undefined): SupervisorLink {
  const { port1, port2 } = new MessageChannel();
  const flags = newFlags();
  const data: SupervisorData = { port: port2, flags, config, firstWork };
  const supervisor = new Worker(supervisorUrl(mainUrl), {
    workerData: data,
    transferList: config === undefined ? [port2] : [port2, config.buffer],
    env: {},
    execArgv: [],
    name: "supervisor",
  });
  // Without its supervisor the worker could be neither reached nor stopped.
  supervisor.on("error", killOwnGroup);
  supervisor.on("exit", killOwnGroup);
  return { port: port1, flags };
}

function isWorkers(name: string): boolean {
  return name.startsWith("MULTINODE_") || name === "NODE_COMPILE_CACHE" || name === "HOSTNAME";
}

function supervisorUrl(mainUrl: string): URL {
  return new URL(mainUrl.endsWith("/worker.cjs") ? "worker_supervisor.cjs" : "supervisor.js", mainUrl);
}
