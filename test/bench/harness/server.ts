/** The embedded server in a process of its own, with the benchmark's functions deployed. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { YOUNG_GENERATION } from "../../../sdk/typescript/src/cli/small_heap.js";
import type * as Sdk from "../../../sdk/typescript/src/index.js";
import type { Bench } from "../measurement.js";
import type { Parts } from "./cpu.js";
import { childrenOf } from "./proc.js";
import type { Processes, RunningProcess } from "./processes.js";
import { CLI, program, TASKS } from "./repository.js";

/** Imported by its name, as users do; the types come from the sources, since nothing of the package exists when they are checked. */
const SDK_PACKAGE: string = "multinode";

export const PROJECT = "bench";

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
  const { sdk, process, url, apiKey } = await launch(bench, options);
  const client = sdk.openClient({ apiUrl: url, apiKey });
  return new Server(bench.processes, process, { url, apiKey, sdk, client });
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
  const sdk = (await import(SDK_PACKAGE)) as typeof Sdk;
  return { sdk, process, url, apiKey: readFileSync(apiKeyFile, "utf8").trim() };
}

interface ServerAccess {
  readonly url: string;
  readonly apiKey: string;
  readonly sdk: typeof Sdk;
  readonly client: Sdk.InvocationClient;
}

export class Server implements AsyncDisposable {
  readonly #processes: Processes;
  readonly #process: RunningProcess;
  readonly #access: ServerAccess;

  constructor(processes: Processes, process: RunningProcess, access: ServerAccess) {
    this.#processes = processes;
    this.#process = process;
    this.#access = access;
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

  async deploy(): Promise<void> {
    const { url, apiKey } = this.#access;
    await this.#processes.run(process.execPath, [CLI, "deploy", TASKS, "--project-name", PROJECT, "--json"], {
      env: { MULTINODE_API_URL: url, MULTINODE_API_KEY: apiKey },
    });
  }

  /** A function of the project; `F` is its type, for its arguments and result. */
  function<F extends (...args: never[]) => unknown>(functionName: string) {
    const { sdk, client } = this.#access;
    return sdk.getDeployedFunction<F>({ projectName: PROJECT, functionName, client });
  }

  /** Its memory after a garbage collection. */
  async memory(): Promise<ServerMemory> {
    return await this.#process.ask<ServerMemory>("memory");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#access.client.close();
    await this.#process.stop();
  }
}
