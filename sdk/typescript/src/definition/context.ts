/** What a running function knows about itself. */
import { AsyncLocalStorage } from "node:async_hooks";
import { DefinitionError } from "../errors.js";

/** Writes lines to the log of the execution. `fields` are written after the message, as JSON. */
export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export interface ExecutionContext {
  /** Empty under `callLocal`. */
  readonly projectName: string;
  /** Empty under `callLocal`. */
  readonly versionId: string;
  readonly functionName: string;
  readonly invocationId: string;
  readonly executionId: string;
  /** Number of this attempt, from 1. */
  readonly attemptNumber: number;
  /** The invocation whose execution started this one; undefined where it was started from outside. */
  readonly parentInvocationId: string | undefined;
  /**
   * Aborts when the execution is interrupted; its reason is an InvocationCancelledError or an InvocationTimedOutError.
   * The grace period begins then, and at its end the code is killed.
   */
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/**
 * What only the SDK uses, beside the context and not in it: users log and return their context.
 * An empty `apiUrl` means that the function runs under `callLocal`.
 */
export interface RunningExecution {
  readonly context: ExecutionContext;
  readonly apiUrl: string;
  /** Credential of this one execution: it may start children of its own invocation, and get, watch and cancel those. */
  readonly executionToken: string;
  /** Largest input that the server takes. */
  readonly maxPayloadBytes: number;
}

const STORAGE_KEY = Symbol.for("multinode.runningExecution");

/** One for the process, so that two copies of this package see the same execution. */
function storage(): AsyncLocalStorage<RunningExecution> {
  const holder = globalThis as { [STORAGE_KEY]?: AsyncLocalStorage<RunningExecution> };
  holder[STORAGE_KEY] ??= new AsyncLocalStorage<RunningExecution>();
  return holder[STORAGE_KEY];
}

/** The context of the function that is running here. Throws a DefinitionError outside of a function. */
export function getContext(): ExecutionContext {
  const execution = currentExecution();
  if (execution === undefined) {
    throw new DefinitionError("getContext() was called outside of a function; call it from inside the function's code");
  }
  return execution.context;
}

/** The execution that is running here, or undefined. */
export function currentExecution(): RunningExecution | undefined {
  return storage().getStore();
}

/** Runs `run` as part of an execution, together with everything that it awaits. */
export function runInContext<R>(execution: RunningExecution, run: () => R): R {
  return storage().run(execution, run);
}
