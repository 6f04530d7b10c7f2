import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, writeFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildWorker as bundleWorker } from "../../../../../scripts/worker_bundle.mjs";
import { bootFileText } from "../boot_config.js";
import type { FirstWork } from "../first_work.js";
import { WORKER_FLAGS } from "../worker_flags.js";

const SOURCE = fileURLToPath(new URL("../..", import.meta.url));
/** Bundles the worker into a new temporary folder, as the package does, and answers the path of `worker.cjs`. */
export async function buildWorker(): Promise<string> {
  const outdir = await mkdtemp(join(tmpdir(), "multinode-worker-build-"));
  await bundleWorker({ source: SOURCE, outdir });
  return join(outdir, "worker.cjs");
}

export interface WorkerProcess {
  readonly pid: number;
  /** Code or signal, once it has ended. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** What it wrote to its own standard streams. */
  output(): string;
  /** Ends the lifeline, as the death of the server does. */
  cutLifeline(): void;
  /** Kills it with all that it started. */
  kill(): void;
}

export interface SpawnConfig {
  readonly schedulerUrl: string;
  readonly bundleCacheDir: string;
}

/** Starts a worker as the process runtime does: leader of its own group, configuration and lifeline on descriptor 3. */
export function spawnWorker(workerFile: string, config: SpawnConfig): WorkerProcess {
  const child = spawn(process.execPath, [...WORKER_FLAGS, workerFile], {
    detached: true,
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    env: { PATH: process.env["PATH"], HOME: tmpdir(), SECRET_OF_THE_SERVER: "secret" },
  });
  const lifeline = child.stdio[3] as Socket;
  lifeline.on("error", () => {});
  lifeline.write(`${JSON.stringify(configOf(config))}\n`);
  return watch(child, () => lifeline.destroy());
}

/** Starts a worker as a container does: configuration in a file. */
export async function spawnInContainer(
  workerFile: string,
  config: SpawnConfig,
  files: { readonly configFile: string; readonly firstWork?: FirstWork },
  environment: Readonly<Record<string, string>> = {},
): Promise<WorkerProcess> {
  await writeFile(files.configFile, bootFileText(configOf(config), files.firstWork));
  const child = spawn(process.execPath, [...WORKER_FLAGS, workerFile], {
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { MULTINODE_WORKER_CONFIG: files.configFile, ...environment },
  });
  return watch(child, () => {});
}

function configOf(config: SpawnConfig) {
  return { ...config, workerId: "wrk-test", workerToken: "worker-token" };
}

function watch(child: ChildProcess, cutLifeline: () => void): WorkerProcess {
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const pid = child.pid ?? 0;
  return {
    pid,
    exited: once(child, "exit").then(([code, signal]) => ({ code, signal })),
    output: () => output,
    cutLifeline,
    kill: () => {
      try {
        process.kill(-pid, "SIGKILL");
      } catch {
        // It has ended already.
      }
    },
  };
}
