/** The public entry of the package `multinode`. */
export type { AwaitOptions, CallOptions, InvocationOptions, ListOptions, WatchOptions } from "./call_options.js";
export { PayloadIsInvalidError, ValueIsUnsupportedError } from "./codec_errors.js";
export { type ExecutionContext, getContext, type Logger } from "./context.js";
export {
  type DeployedFunction,
  type DeployedFunctionOptions,
  getDeployedFunction,
} from "./deployed.js";
export * from "./errors.js";
export { DefinedFunction, type FinalResultOf, type Handler, isDefinedFunction, type ResultOf } from "./function.js";
export { FunctionHandle, type OnlyArgument } from "./function_handle.js";
export type {
  Execution,
  ExecutionOutcome,
  FinishedStatus,
  Invocation,
  InvocationIdsList,
  InvocationStatus,
} from "./invocation.js";
export type { InvocationClient } from "./invocation_client.js";
export type { MapOptions } from "./map_invocations.js";
export { isMultinode, Multinode } from "./multinode.js";
export { type OpenClientOptions, openClient } from "./open_client.js";
export type { FunctionOptions, RetryDelay } from "./options.js";
export type { Duration, Size } from "./units.js";
