/** The embedded server in a process of its own, with the benchmark's functions deployed. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { YOUNG_GENERATION } from "../../../sdk/typescript/src/cli/small_heap.js";
import type { Bench } from "../measurement.js";
import type { Parts } from "./cpu.js";
import { childrenOf } from "./proc.js";
import type { RunningProcess } from "./processes.js";
import { CLI, program } from "./repository.js";
import { type Access, openAccess, System } from "./system.js";

export interface ServerMemory {
  readonly rssBytes: number;
  readonly heapUsedBytes: number;
  readonly externalBytes: number;
}

export interface ServerOptions {
  /** Name of the folder of its data. Default "server". */
  readonly name?: string;
  /** Default: what `multinode up` keeps. */
  readonly spareWorkers?: number;
}

/** The default server is `multinode up`. */
export async function startServer(bench: Bench, options: ServerOptions = {}): Promise<Server> {
  const { process, url, apiKey } = await launch(bench, options);
  return new Server(bench, process, await openAccess({ url, apiKey }));
}

export function dataDirOf({ folder }: Bench, name: string): string {
  return join(folder, name);
}

async function launch(bench: Bench, { name = "server", spareWorkers }: ServerOptions) {
  const dataDir = dataDirOf(bench, name);
  mkdirSync(dataDir, { recursive: true });
  // The bound that `multinode up` gives itself, by starting anew: this process's channel would not survive that.
  const node = [YOUNG_GENERATION, "--expose-gc", "--import", program("memory_probe")];
  const args =
    spareWorkers === undefined
      ? [CLI, "up", "--data-dir", dataDir, "--port", "0", "--json"]
      : [program("embedded_server"), dataDir, "0", String(spareWorkers)];
  // The login of whoever runs the benchmark is left alone.
  const process = bench.processes.node([...node, ...args], { env: { MULTINODE_HOME: join(bench.folder, "home") } });
  const { url, apiKeyFile } = JSON.parse(await process.line(/^\{.*"url"/)) as { url: string; apiKeyFile: string };
  return { process, url, apiKey: readFileSync(apiKeyFile, "utf8").trim() };
}

export class Server extends System {
  readonly #process: RunningProcess;

  constructor(bench: Bench, process: RunningProcess, access: Access) {
    super(bench, access);
    this.#process = process;
  }

  get pid(): number {
    return this.#process.pid;
  }

  get workerPids(): number[] {
    return childrenOf(this.pid);
  }

  get parts(): Parts {
    return () => ({ server: [this.pid], workers: this.workerPids });
  }

  /** Its memory after a garbage collection. */
  async memory(): Promise<ServerMemory> {
    return await this.#process.ask<ServerMemory>("memory");
  }

  protected async stop(): Promise<void> {
    await this.#process.stop();
  }
}
