/** Key of `globalThis` under which a worker, and the inspection before a deployment, hold the SDK for user code. */
export const SDK_GLOBAL = "multinode.sdk";

/**
 * The module that user code imports as "multinode": every public name of the SDK, taken from the process that runs the
 * code. So a bundle stays small, and a worker's improvements reach versions that were deployed before it.
 */
export function sdkModuleText(sdkNames: readonly string[]): string {
  const names = sdkNames.filter((name) => name !== "default").toSorted();
  return [
    `const sdk = globalThis[Symbol.for(${JSON.stringify(SDK_GLOBAL)})];`,
    `if (sdk === undefined) throw new Error("This file was bundled for a Multinode worker and cannot run by itself.");`,
    `export const { ${names.join(", ")} } = sdk;`,
    "",
  ].join("\n");
}
