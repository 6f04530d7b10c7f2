/** The options of a function: how they are written, how they are checked, and what goes on the wire. */

import type { StandardSchemaV1 } from "@standard-schema/spec";
import { OPTION_LIMITS } from "../protocol/limits.js";
import { FUNCTION_NAME_RULE, isFunctionName } from "../protocol/names.js";
import { OptionCheck } from "./option_check.js";
import { DURATION_RULE, type Duration, type Size } from "./units.js";

/** Wait before the attempt that follows a failed one: initial * factor ^ (failures - 1), at most `ceiling`. */
export interface RetryDelay {
  /** Wait after the first failure. 0 to 24 h. */
  readonly initial: Duration;
  /** 1 to 100. Default 2. */
  readonly factor?: number | undefined;
  /** Longest wait, `initial` to 24 h. Default 5 minutes, or `initial` where that is more. */
  readonly ceiling?: Duration | undefined;
  /** Share of the wait that is random, 0 to 1. Default 0.1. */
  readonly jitter?: number | undefined;
}

export interface FunctionOptions {
  /** Name of the function. Default: the name under which main exports it. */
  readonly name?: string | undefined;
  /** Virtual CPUs of each execution. Above 0, at most 16. Default 0.1. */
  readonly cpu?: number | undefined;
  /** Memory of each execution, a hard limit. Above 0, at most 64 GiB. Default "256 MiB". */
  readonly memory?: Size | undefined;
  /** Longest running time of one execution, counted from its start. 1 ms to 24 h. Default "1h". */
  readonly timeout?: Duration | undefined;
  /** Executions that hold a worker at the same time, over all versions of the project. 1 to 1,000. Default 10. */
  readonly maxConcurrency?: number | undefined;
  /** Failed executions that are followed by another. 0 to 50. Default 0. */
  readonly maxRetries?: number | undefined;
  /** Wait before another attempt: a duration, or how it grows. Default: none. */
  readonly retryDelay?: Duration | RetryDelay | undefined;
  /** From the interruption of an execution to its forced end. 0 to 10 min. Default "2m". */
  readonly gracePeriod?: Duration | undefined;
  /** Executions that one worker may run in its life; `Infinity` for no bound. Default 1: a fresh worker for each. */
  readonly maxInvocationsPerWorker?: number | undefined;
  /** Executions that one worker runs side by side. 1 to 1,000. Default 1. Above 1 needs `maxInvocationsPerWorker` above 1. */
  readonly workerConcurrency?: number | undefined;
  /** Warm workers that are kept ready. 0 to 100. Default 0. */
  readonly minWorkers?: number | undefined;
  /** How long an idle worker above `minWorkers` is kept. 0 to 1 h. Default "1m". */
  readonly idleTimeout?: Duration | undefined;
  /** Schema of the only argument, or, where it is a tuple, of the whole argument list. Checked before anything is queued. */
  readonly input?: StandardSchemaV1 | undefined;
  /** Schema of the result. Checked before the result is recorded. */
  readonly output?: StandardSchemaV1 | undefined;
}

/** Options as they are on the wire. An absent one means its default; 0 invocations per worker mean no bound. */
export interface WireFunctionOptions {
  cpu?: number | undefined;
  memoryBytes?: number | undefined;
  timeoutMs?: number | undefined;
  maxConcurrency?: number | undefined;
  maxRetries?: number | undefined;
  retryDelay: WireRetryDelay | undefined;
  gracePeriodMs?: number | undefined;
  maxInvocationsPerWorker?: number | undefined;
  workerConcurrency?: number | undefined;
  minWorkers?: number | undefined;
  idleTimeoutMs?: number | undefined;
}

export interface WireRetryDelay {
  initialMs: number;
  factor?: number | undefined;
  ceilingMs?: number | undefined;
  jitter?: number | undefined;
}

const OPTION_NAMES = [
  "name",
  "cpu",
  "memory",
  "timeout",
  "maxConcurrency",
  "maxRetries",
  "retryDelay",
  "gracePeriod",
  "maxInvocationsPerWorker",
  "workerConcurrency",
  "minWorkers",
  "idleTimeout",
  "input",
  "output",
] as const satisfies readonly (keyof FunctionOptions)[];
const RETRY_DELAY_NAMES = ["initial", "factor", "ceiling", "jitter"] as const satisfies readonly (keyof RetryDelay)[];

/** Checks the options of one function. Throws one ParameterValidationError that lists every bad one. */
export function parseFunctionOptions(options: FunctionOptions): WireFunctionOptions {
  const check = new OptionCheck();
  if (!check.names("", options, OPTION_NAMES)) check.throwIfAny("mn.function");
  if (options.name !== undefined && !isFunctionName(options.name)) {
    check.violation("name", options.name, `must be ${FUNCTION_NAME_RULE}`);
  }
  const wire: WireFunctionOptions = {
    cpu: check.number("cpu", options.cpu, OPTION_LIMITS.cpu),
    memoryBytes: check.size("memory", options.memory, OPTION_LIMITS.memoryBytes),
    timeoutMs: check.duration("timeout", options.timeout, OPTION_LIMITS.timeoutMs),
    maxConcurrency: check.integer("maxConcurrency", options.maxConcurrency, OPTION_LIMITS.maxConcurrency),
    maxRetries: check.integer("maxRetries", options.maxRetries, OPTION_LIMITS.maxRetries),
    retryDelay: options.retryDelay === undefined ? undefined : retryDelay(check, options.retryDelay),
    gracePeriodMs: check.duration("gracePeriod", options.gracePeriod, OPTION_LIMITS.gracePeriodMs),
    maxInvocationsPerWorker:
      options.maxInvocationsPerWorker === Number.POSITIVE_INFINITY
        ? 0
        : check.integer(
            "maxInvocationsPerWorker",
            options.maxInvocationsPerWorker,
            OPTION_LIMITS.maxInvocationsPerWorker,
          ),
    workerConcurrency: check.integer("workerConcurrency", options.workerConcurrency, OPTION_LIMITS.workerConcurrency),
    minWorkers: check.integer("minWorkers", options.minWorkers, OPTION_LIMITS.minWorkers),
    idleTimeoutMs: check.duration("idleTimeout", options.idleTimeout, OPTION_LIMITS.idleTimeoutMs),
  };
  if ((wire.workerConcurrency ?? 1) > 1 && (wire.maxInvocationsPerWorker ?? 1) === 1) {
    check.violation("workerConcurrency", options.workerConcurrency, "above 1 needs maxInvocationsPerWorker above 1");
  }
  check.throwIfAny("bad function option", "bad function options");
  return wire;
}

function retryDelay(check: OptionCheck, written: Duration | RetryDelay): WireRetryDelay {
  const initialBounds = { min: OPTION_LIMITS.retryInitialMs.min, max: OPTION_LIMITS.retryInitialMs.max };
  if (typeof written !== "object" || written === null) {
    return { initialMs: check.duration("retryDelay", written, initialBounds) ?? 0 };
  }
  check.names("retryDelay.", written, RETRY_DELAY_NAMES);
  if (written.initial === undefined) check.violation("retryDelay.initial", undefined, `must be ${DURATION_RULE}`);
  const initialMs = check.duration("retryDelay.initial", written.initial, initialBounds) ?? 0;
  return {
    initialMs,
    factor: check.number("retryDelay.factor", written.factor, OPTION_LIMITS.retryFactor),
    ceilingMs: check.duration("retryDelay.ceiling", written.ceiling, {
      min: initialMs,
      max: OPTION_LIMITS.retryCeilingMs.max,
    }),
    jitter: check.number("retryDelay.jitter", written.jitter, OPTION_LIMITS.retryJitter),
  };
}
