/** Runs the code of a function in this process. */
import { inspect, types } from "node:util";
import { LIMITS } from "../protocol/limits.js";
import { currentExecution, type Logger, type RunningExecution, runInContext } from "./context.js";
import type { Handler } from "./function.js";

interface LocalFunction {
  readonly functionName: string | undefined;
  readonly handler: Handler;
  parseInput(args: readonly unknown[]): Promise<unknown[]>;
  parseOutput(result: unknown): Promise<unknown>;
}

/** Answers what the invocation's result would be: of a generator the value returned, or else the last one yielded. */
export async function callLocally(target: LocalFunction, args: readonly unknown[]): Promise<unknown> {
  const parsed = await target.parseInput(args);
  const execution = currentExecution() ?? localExecution(target.functionName ?? target.handler.name);
  return runInContext(execution, async () => {
    const returned = await target.handler(...(parsed as never[]));
    return isGenerator(returned) ? drain(target, returned) : target.parseOutput(returned);
  });
}

/**
 * Whether a handler's return value is a generator, sync or async: its values are yielded one by one. Code that was compiled
 * for older engines makes objects with the same methods. Other iterators, as those of a Map, have fewer, and are values.
 */
export function isGenerator(value: unknown): value is AsyncGenerator | Generator {
  if (types.isGeneratorObject(value)) return true;
  if (typeof value !== "object" || value === null || !(Symbol.asyncIterator in value || Symbol.iterator in value)) {
    return false;
  }
  const { next, throw: throwInto, return: end } = value as Partial<Generator>;
  return typeof next === "function" && typeof throwInto === "function" && typeof end === "function";
}

async function drain(target: LocalFunction, generator: AsyncGenerator | Generator): Promise<unknown> {
  let last: unknown;
  for (let hasYielded = false; ; hasYielded = true) {
    const step = await generator.next();
    if (step.done === true) return step.value === undefined && hasYielded ? last : target.parseOutput(step.value);
    last = await target.parseOutput(await step.value);
  }
}

function localExecution(functionName: string): RunningExecution {
  return {
    context: {
      projectName: "",
      versionId: "",
      functionName,
      invocationId: "local",
      executionId: "local",
      attemptNumber: 1,
      parentInvocationId: undefined,
      signal: new AbortController().signal,
      logger: consoleLogger(),
    },
    apiUrl: "",
    executionToken: "",
    maxPayloadBytes: LIMITS.payloadBytes,
  };
}

function consoleLogger(): Logger {
  const line = (message: string, fields: Readonly<Record<string, unknown>> | undefined) =>
    fields === undefined ? message : `${message} ${inspect(fields, { breakLength: Number.POSITIVE_INFINITY })}`;
  return {
    debug: (message, fields) => console.debug(line(message, fields)),
    info: (message, fields) => console.info(line(message, fields)),
    warn: (message, fields) => console.warn(line(message, fields)),
    error: (message, fields) => console.error(line(message, fields)),
  };
}
