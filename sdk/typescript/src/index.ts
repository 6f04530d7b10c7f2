/** The public entry of the package `multinode`. */
export type { AwaitOptions, CallOptions, InvocationOptions, ListOptions, WatchOptions } from "./client/call_options.js";
export type { InvocationClient } from "./client/invocation_client.js";
export type { MapOptions } from "./client/map_invocations.js";
export { type OpenClientOptions, openClient } from "./client/open_client.js";
export { type ExecutionContext, getContext, type Logger } from "./definition/context.js";
export {
  DefinedFunction,
  type FinalResultOf,
  type Handler,
  isDefinedFunction,
  type ResultOf,
} from "./definition/function.js";
export { isMultinode, Multinode } from "./definition/multinode.js";
export type { FunctionOptions, RetryDelay } from "./definition/options.js";
export type { Duration, Size } from "./definition/units.js";
export {
  type DeployedFunction,
  type DeployedFunctionOptions,
  getDeployedFunction,
} from "./deployed.js";
export * from "./errors.js";
export { FunctionHandle, type OnlyArgument } from "./function_handle.js";
export type {
  Execution,
  ExecutionOutcome,
  FinishedStatus,
  Invocation,
  InvocationIdsList,
  InvocationStatus,
} from "./invocation.js";
export { NonRetryableError } from "./non_retryable.js";
export { PayloadIsInvalidError, ValueIsUnsupportedError } from "./values/codec_errors.js";
