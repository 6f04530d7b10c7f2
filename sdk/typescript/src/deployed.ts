/** Functions of a project that was deployed, as an application calls them. */

import { resolveCredentials } from "./client/credentials.js";
import type { InvocationClient } from "./client/invocation_client.js";
import { sharedClient } from "./client/shared_clients.js";
import { currentExecution } from "./definition/context.js";
import type { FinalResultOf, ResultOf } from "./definition/function.js";
import { OptionCheck } from "./definition/option_check.js";
import { FunctionHandle } from "./function_handle.js";
import type { Invocation } from "./invocation.js";
import { FUNCTION_NAME_RULE, isFunctionName, isProjectName, PROJECT_NAME_RULE } from "./protocol/names.js";

export interface DeployedFunctionOptions {
  readonly projectName: string;
  readonly functionName: string;
  /** Default: the newest version at the moment of each call. */
  readonly versionId?: string | undefined;
  /** Default: `MULTINODE_API_URL`, then the login file. */
  readonly apiUrl?: string | undefined;
  /** Default: `MULTINODE_API_KEY`, then the login file. */
  readonly apiKey?: string | undefined;
  /** Default: one that the whole process shares. */
  readonly client?: InvocationClient | undefined;
}

const OPTION_NAMES = [
  "projectName",
  "functionName",
  "versionId",
  "apiUrl",
  "apiKey",
  "client",
] as const satisfies readonly (keyof DeployedFunctionOptions)[];

/** The handle of a function, from `typeof` the function that main exports, or from the type of a plain function. */
export type DeployedFunction<F> = F extends {
  callRemote(...args: infer Args): Promise<infer Result>;
  get(...args: never[]): Promise<Invocation<infer Shown>>;
}
  ? FunctionHandle<Args, Result, Shown>
  : F extends (...args: infer Args) => infer Returned
    ? FunctionHandle<Args, FinalResultOf<Returned>, ResultOf<Returned>>
    : never;

/**
 * A function that was deployed. Calls nothing by itself: credentials are looked for at the first call.
 *
 *     import type * as tasks from "../tasks/main.js";
 *     const resize = getDeployedFunction<typeof tasks.resize>({ projectName: "images", functionName: "resize" });
 *     const url = await resize.callRemote("https://example.com/cat.jpg");
 *
 * Throws a ParameterValidationError for a bad option.
 */
export function getDeployedFunction<F = (...args: unknown[]) => unknown>(
  options: DeployedFunctionOptions,
): DeployedFunction<F> {
  checkOptions(options);
  const { projectName, functionName, versionId = "", apiUrl, apiKey } = options;
  let client = options.client;
  const handle = new FunctionHandle<unknown[], unknown>(() => {
    client ??= sharedClient(resolveCredentials({ apiUrl, apiKey }));
    return {
      client,
      projectName,
      versionId,
      functionName,
      interruption: currentExecution()?.context.signal,
    };
  });
  return handle as unknown as DeployedFunction<F>;
}

function checkOptions(options: DeployedFunctionOptions): void {
  const check = new OptionCheck();
  if (check.names("", options, OPTION_NAMES)) {
    const { projectName, functionName, versionId } = options;
    if (!isProjectName(projectName)) check.violation("projectName", projectName, `must be ${PROJECT_NAME_RULE}`);
    if (!isFunctionName(functionName)) check.violation("functionName", functionName, `must be ${FUNCTION_NAME_RULE}`);
    if (versionId !== undefined && typeof versionId !== "string") {
      check.violation("versionId", versionId, "must be the id of a version");
    }
  }
  check.throwIfAny("getDeployedFunction");
}
