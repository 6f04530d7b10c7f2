import { OPTION_LIMITS } from "../../protocol/limits.js";
import { formatBytes, formatDuration } from "./format.js";

/** The options of a function as they are on the wire; an absent one is its default. */
export interface ShownOptions {
  readonly cpu?: number | undefined;
  readonly memoryBytes?: number | undefined;
  readonly timeoutMs?: number | undefined;
  readonly maxConcurrency?: number | undefined;
  readonly maxRetries?: number | undefined;
  readonly retryDelay?: ShownRetryDelay | undefined;
  readonly gracePeriodMs?: number | undefined;
  readonly maxInvocationsPerWorker?: number | undefined;
  readonly workerConcurrency?: number | undefined;
  readonly minWorkers?: number | undefined;
  readonly idleTimeoutMs?: number | undefined;
}

interface ShownRetryDelay {
  readonly initialMs: number;
  readonly factor?: number | undefined;
  readonly ceilingMs?: number | undefined;
  readonly jitter?: number | undefined;
}

export interface OptionField {
  /** As TypeScript has it, such as "maxRetries". */
  readonly name: string;
  readonly text: string;
  readonly isDefault: boolean;
}

/** Every option as a person reads it, in the order in which the documentation lists them. */
export function optionFields(options: ShownOptions | undefined): OptionField[] {
  const given = options ?? {};
  const field = (name: string, value: number | undefined, byDefault: number, text: (value: number) => string) => ({
    name,
    text: text(value ?? byDefault),
    isDefault: value === undefined || value === byDefault,
  });
  const limits = OPTION_LIMITS;
  return [
    field("cpu", given.cpu, limits.cpu.default, String),
    field("memory", given.memoryBytes, limits.memoryBytes.default, formatBytes),
    field("timeout", given.timeoutMs, limits.timeoutMs.default, formatDuration),
    field("maxConcurrency", given.maxConcurrency, limits.maxConcurrency.default, String),
    field("maxRetries", given.maxRetries, limits.maxRetries.default, String),
    { name: "retryDelay", text: retryDelayText(given.retryDelay), isDefault: given.retryDelay === undefined },
    field("gracePeriod", given.gracePeriodMs, limits.gracePeriodMs.default, formatDuration),
    field("maxInvocationsPerWorker", given.maxInvocationsPerWorker, limits.maxInvocationsPerWorker.default, (value) =>
      value === 0 ? "unbounded" : String(value),
    ),
    field("workerConcurrency", given.workerConcurrency, limits.workerConcurrency.default, String),
    field("minWorkers", given.minWorkers, limits.minWorkers.default, String),
    field("idleTimeout", given.idleTimeoutMs, limits.idleTimeoutMs.default, formatDuration),
  ];
}

/** The options that are not the defaults, in one line: "memory 1 GiB, timeout 30m". */
export function changedOptions(options: ShownOptions | undefined): string {
  const changed = optionFields(options).filter((field) => !field.isDefault);
  return changed.length === 0 ? "defaults" : changed.map(({ name, text }) => `${name} ${text}`).join(", ");
}

function retryDelayText(delay: ShownRetryDelay | undefined): string {
  if (delay === undefined) return "none";
  const factor = delay.factor ?? OPTION_LIMITS.retryFactor.default;
  const growth = factor === 1 ? "" : `, times ${factor}`;
  const ceiling = delay.ceilingMs === undefined ? "" : `, at most ${formatDuration(delay.ceilingMs)}`;
  return `${formatDuration(delay.initialMs)}${growth}${ceiling}`;
}
