import { expect, test } from "vitest";
import { ParameterValidationError } from "../errors.js";
import { type FunctionOptions, parseFunctionOptions } from "./options.js";

function refused(options: Record<string, unknown>): ParameterValidationError {
  try {
    parseFunctionOptions(options as FunctionOptions);
  } catch (error) {
    if (error instanceof ParameterValidationError) return error;
    throw error;
  }
  throw new Error("the options were not refused");
}

test("options go on the wire in its units", () => {
  expect(
    parseFunctionOptions({
      cpu: 4,
      memory: "16 GiB",
      timeout: "1h30m",
      maxConcurrency: 20,
      maxRetries: 3,
      retryDelay: { initial: "1s", factor: 3, ceiling: "1m", jitter: 0 },
      gracePeriod: 0,
      maxInvocationsPerWorker: Number.POSITIVE_INFINITY,
      workerConcurrency: 8,
      minWorkers: 2,
      idleTimeout: "5m",
    }),
  ).toStrictEqual({
    cpu: 4,
    memoryBytes: 16 * 1024 ** 3,
    timeoutMs: 5_400_000,
    maxConcurrency: 20,
    maxRetries: 3,
    retryDelay: { initialMs: 1_000, factor: 3, ceilingMs: 60_000, jitter: 0 },
    gracePeriodMs: 0,
    maxInvocationsPerWorker: 0,
    workerConcurrency: 8,
    minWorkers: 2,
    idleTimeoutMs: 300_000,
  });
  expect(parseFunctionOptions({ retryDelay: "2s" }).retryDelay).toStrictEqual({ initialMs: 2_000 });
  expect(Object.values(parseFunctionOptions({})).every((value) => value === undefined)).toBe(true);
});

test.each([
  ["cpu", 0, "0 must be above 0 and at most 16"],
  ["cpu", "4", '"4" must be a number'],
  ["memory", "65 GiB", '"65 GiB" must be at least 1 B and at most 64 GiB'],
  ["memory", "1 GB", '"1 GB" must be a size such as'],
  ["timeout", "25h", '"25h" must be at least 1ms and at most 24h'],
  ["timeout", 0, "0 must be at least 1ms"],
  ["maxConcurrency", 1_001, "1001 must be at least 1 and at most 1000"],
  ["maxRetries", 1.5, "1.5 must be a whole number"],
  ["gracePeriod", "11m", '"11m" must be at least 0ms and at most 10m'],
  ["minWorkers", 101, "101 must be at least 0 and at most 100"],
  ["idleTimeout", "2h", '"2h" must be at least 0ms and at most 1h'],
  ["maxInvocationsPerWorker", 0, "0 must be at least 1"],
  ["name", "2fast", '"2fast" must be 1 to 128 letters'],
  ["timeOut", 1, "is no option; the options are name, cpu"],
])("%s: %s is refused with the bound", (option, value, description) => {
  const error = refused({ [option]: value });
  expect(error.violations).toHaveLength(1);
  expect(error.violations[0]).toMatchObject({ field: option, description: expect.stringContaining(description) });
});

test("what is no object is refused", () => {
  expect(() => parseFunctionOptions(null as never)).toThrow(
    "mn.function: options: null must be an object with options",
  );
});

test("everything that is wrong is told at once", () => {
  const error = refused({
    cpu: -1,
    memory: "x",
    workerConcurrency: 4,
    retryDelay: { initial: "2s", ceiling: "1s", f: 1 },
  });
  expect(error.violations.map(({ field }) => field)).toStrictEqual([
    "cpu",
    "memory",
    "retryDelay.f",
    "retryDelay.ceiling",
    "workerConcurrency",
  ]);
  expect(error.message).toContain("above 1 needs maxInvocationsPerWorker above 1");
});
