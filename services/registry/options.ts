/** Function options: their bounds, and their defaults filled in. */
import { z } from "zod";
import type { FunctionOptions, RetryDelay } from "../../gen/multinode/registry/v1/function.pb.js";
import { OPTION_LIMITS } from "../../sdk/typescript/src/protocol/limits.js";

const L = OPTION_LIMITS;

function whole(limit: { readonly min: number; readonly max: number }) {
  return z.int().min(limit.min).max(limit.max);
}

function number(limit: { readonly min: number; readonly max: number }) {
  return z.number().min(limit.min).max(limit.max);
}

const retryDelay = z
  .object({
    initialMs: whole(L.retryInitialMs),
    factor: number(L.retryFactor).default(L.retryFactor.default),
    ceilingMs: z.int().max(L.retryCeilingMs.max).optional(),
    jitter: number(L.retryJitter).default(L.retryJitter.default),
  })
  .superRefine(({ initialMs, ceilingMs }, context) => {
    if (ceilingMs === undefined || ceilingMs >= initialMs) return;
    const message = `is below initial_ms, ${initialMs}`;
    context.addIssue({ code: "custom", path: ["ceilingMs"], input: ceilingMs, message });
  })
  .transform(
    (delay): RetryDelay => ({
      ...delay,
      ceilingMs: delay.ceilingMs ?? Math.max(L.retryCeilingMs.default, delay.initialMs),
    }),
  );

const present = z
  .object({
    cpu: z.number().gt(L.cpu.above).max(L.cpu.max).default(L.cpu.default),
    memoryBytes: whole(L.memoryBytes).default(L.memoryBytes.default),
    timeoutMs: whole(L.timeoutMs).default(L.timeoutMs.default),
    maxConcurrency: whole(L.maxConcurrency).default(L.maxConcurrency.default),
    maxRetries: whole(L.maxRetries).default(L.maxRetries.default),
    retryDelay: retryDelay.optional(),
    gracePeriodMs: whole(L.gracePeriodMs).default(L.gracePeriodMs.default),
    // 0 means unbounded.
    maxInvocationsPerWorker: z
      .int()
      .min(0)
      .max(L.maxInvocationsPerWorker.max)
      .default(L.maxInvocationsPerWorker.default),
    workerConcurrency: whole(L.workerConcurrency).default(L.workerConcurrency.default),
    minWorkers: whole(L.minWorkers).default(L.minWorkers.default),
    idleTimeoutMs: whole(L.idleTimeoutMs).default(L.idleTimeoutMs.default),
  })
  .superRefine(({ workerConcurrency, maxInvocationsPerWorker }, context) => {
    if (workerConcurrency <= 1 || maxInvocationsPerWorker !== 1) return;
    const message = "is above 1, which needs max_invocations_per_worker other than 1";
    context.addIssue({ code: "custom", path: ["workerConcurrency"], input: workerConcurrency, message });
  })
  .transform((options): FunctionOptions => ({ ...options, retryDelay: options.retryDelay }));

/** FunctionOptions as a request brings them, absent ones included, to FunctionOptions with every default. */
export const functionOptions: z.ZodType<FunctionOptions> = z.preprocess(
  (options) => (options === undefined ? {} : options),
  present,
);
