import { flushCompileCache } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { SDK_GLOBAL } from "../bundle/sdk_module.js";
import { discover } from "../definition/discover.js";
import type { DefinedFunction } from "../definition/function.js";
import { DefinitionError } from "../errors.js";
import * as sdk from "../index.js";

/** The module of a bundle that exports the functions. */
const MAIN_FILE = "main.mjs";
/** Loading that takes longer is worth being remembered. */
const SLOW_LOAD_MS = 20;

/** Lets bundles, which do not carry the SDK, find the one of this worker. */
export function offerSdk(): void {
  Reflect.set(globalThis, Symbol.for(SDK_GLOBAL), sdk);
}

/**
 * Makes this process the home of a version, its folder the current one and its environment added, and finds the function.
 * Rejects with whatever the code throws while it is loaded.
 *
 * @param folder holds `main.mjs`
 */
export async function loadFunction(
  folder: string,
  environment: Readonly<Record<string, string>>,
  functionName: string,
): Promise<DefinedFunction> {
  Object.assign(process.env, environment);
  process.chdir(folder);
  const mainFile = join(folder, MAIN_FILE);
  process.argv[1] = mainFile;
  const startMs = performance.now();
  const main: unknown = await import(pathToFileURL(mainFile).href);
  // The next worker finds the compiled code: Node would write it at an exit that most workers do not see.
  if (performance.now() - startMs > SLOW_LOAD_MS) flushCompileCache();
  const found = discover(main as object).get(functionName);
  if (found === undefined) {
    throw new DefinitionError(`the code of this version has no function "${functionName}"`);
  }
  return found;
}
