import { describe, expect, it } from "vitest";
import { OPTION_LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { parse } from "../platform/rpc/validation.js";
import { functionOptions } from "./options.js";

const GIB = 1024 ** 3;

describe("functionOptions", () => {
  it("fills in every default", () => {
    const defaults = {
      cpu: 0.1,
      memoryBytes: 256 * 1024 * 1024,
      timeoutMs: 3_600_000,
      maxConcurrency: 10,
      maxRetries: 0,
      retryDelay: undefined,
      gracePeriodMs: 120_000,
      maxInvocationsPerWorker: 1,
      workerConcurrency: 1,
      minWorkers: 0,
      idleTimeoutMs: 60_000,
    };
    expect(parse(functionOptions, undefined)).toEqual(defaults);
    expect(parse(functionOptions, { cpu: undefined, retryDelay: undefined })).toEqual(defaults);
    const retryDelay = { initialMs: 5, factor: 2, ceilingMs: 300_000, jitter: 0.1 };
    expect(parse(functionOptions, { retryDelay: { initialMs: 5 } }).retryDelay).toEqual(retryDelay);
    expect(parse(functionOptions, { retryDelay: { initialMs: 400_000 } }).retryDelay?.ceilingMs).toBe(400_000);
  });

  it.each([
    ["cpu", [0, -1, 16.1, Number.NaN, Infinity], [0.001, 16]],
    ["memoryBytes", [0, -1, 64 * GIB + 1, 1024 ** 2 + 0.5], [1, 64 * GIB]],
    ["timeoutMs", [0, 86_400_001, 1.5, 1e308], [1, 86_400_000]],
    ["maxConcurrency", [0, 1_001, 1.5], [1, 1_000]],
    ["maxRetries", [-1, 51, 1.5, Number.NaN], [0, 50]],
    ["gracePeriodMs", [-1, 600_001, Infinity], [0, 600_000]],
    ["maxInvocationsPerWorker", [-1, OPTION_LIMITS.maxInvocationsPerWorker.max + 1, 0.5], [0, 1, 2]],
    ["workerConcurrency", [0, 1_001, 1.5], [1]],
    ["minWorkers", [-1, 101, 1.5], [0, 100]],
    ["idleTimeoutMs", [-1, 3_600_001, 1.5], [0, 3_600_000]],
  ])("holds %s to its bounds", (option, bad, good) => {
    const name = option.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    for (const value of bad) {
      expect(() => parse(functionOptions, { [option]: value })).toThrow(`${name}: ${value} is `);
    }
    for (const value of good) expect(parse(functionOptions, { [option]: value })).toMatchObject({ [option]: value });
  });

  it.each([
    ["initialMs", [-1, 86_400_001, 1.5]],
    ["factor", [0.9, 101, Number.NaN]],
    ["ceilingMs", [-1, 9, 86_400_001, 10.5]],
    ["jitter", [-0.1, 1.1, Infinity]],
  ])("holds retryDelay.%s to its bounds", (part, bad) => {
    for (const value of bad) {
      expect(() => parse(functionOptions, { retryDelay: { initialMs: 10, [part]: value } })).toThrow(`${value} is `);
    }
  });

  it("holds options to each other", () => {
    expect(() => parse(functionOptions, { workerConcurrency: 2 })).toThrow(
      "worker_concurrency: 2 is above 1, which needs max_invocations_per_worker other than 1",
    );
    for (const maxInvocationsPerWorker of [0, 2]) {
      expect(parse(functionOptions, { workerConcurrency: 1_000, maxInvocationsPerWorker })).toBeDefined();
    }
    expect(() => parse(functionOptions, { retryDelay: { initialMs: 10, ceilingMs: 9 } })).toThrow(
      "retry_delay.ceiling_ms: 9 is below initial_ms, 10",
    );
  });
});
