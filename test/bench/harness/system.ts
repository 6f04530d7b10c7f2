/** An installation in processes of its own, with the benchmark's functions deployed, whatever it is made of. */
import type * as Sdk from "../../../sdk/typescript/src/index.js";
import type { Bench } from "../measurement.js";
import type { Parts } from "./cpu.js";
import { CLI, TASKS } from "./repository.js";

/** Imported by its name, as users do; the types come from the sources, since nothing of the package exists when they are checked. */
const SDK_PACKAGE: string = "multinode";

export const PROJECT = "bench";

export interface Address {
  readonly url: string;
  readonly apiKey: string;
  /** Where functions are called, if not at `url`. */
  readonly callsUrl?: string;
}

export interface Access {
  readonly address: Address;
  readonly sdk: typeof Sdk;
  readonly client: Sdk.InvocationClient;
}

export async function openAccess(address: Address): Promise<Access> {
  const sdk = (await import(SDK_PACKAGE)) as typeof Sdk;
  const { url, callsUrl = url, apiKey } = address;
  return { address, sdk, client: sdk.openClient({ apiUrl: callsUrl, apiKey }) };
}

export abstract class System implements AsyncDisposable {
  readonly #bench: Bench;
  readonly #access: Access;

  constructor(bench: Bench, access: Access) {
    this.#bench = bench;
    this.#access = access;
  }

  abstract get parts(): Parts;

  /** @param folder of the project */
  async deploy(folder = TASKS): Promise<void> {
    const { url, apiKey } = this.#access.address;
    await this.#bench.processes.run(process.execPath, [CLI, "deploy", folder, "--project-name", PROJECT, "--json"], {
      env: { MULTINODE_API_URL: url, MULTINODE_API_KEY: apiKey },
    });
  }

  /** A function of the project; `F` is its type, for its arguments and result. */
  function<F extends (...args: never[]) => unknown>(functionName: string) {
    const { sdk, client } = this.#access;
    return sdk.getDeployedFunction<F>({ projectName: PROJECT, functionName, client });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#access.client.close();
    await this.stop();
  }

  protected abstract stop(): Promise<void>;
}
