import { expect, test } from "vitest";
import { changedOptions, optionFields } from "./function_options.js";

test("only what differs from the defaults is told", () => {
  expect(changedOptions(undefined)).toBe("defaults");
  expect(changedOptions({ cpu: 0.1, memoryBytes: 1024 ** 3, timeoutMs: 1_800_000, maxInvocationsPerWorker: 0 })).toBe(
    "memory 1 GiB, timeout 30m, maxInvocationsPerWorker unbounded",
  );
  expect(changedOptions({ retryDelay: { initialMs: 1_000, factor: 3, ceilingMs: 60_000 } })).toBe(
    "retryDelay 1s, times 3, at most 1m",
  );
});

test("every option of the documentation is there", () => {
  expect(optionFields({}).map(({ name }) => name)).toEqual([
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
  ]);
  expect(optionFields({}).every(({ isDefault }) => isDefault)).toBe(true);
});
