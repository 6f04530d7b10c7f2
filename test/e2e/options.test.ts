import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FunctionOptions } from "../../gen/multinode/registry/v1/function.pb.js";
import { ProjectPolicy } from "../../gen/multinode/registry/v1/registry_service.pb.js";
import { Multinode, type FunctionOptions as SdkFunctionOptions } from "../../sdk/typescript/src/index.js";
import { errorOf } from "../harness/observe.js";
import { openTarget, type Target } from "../harness/target.js";

const HOUR_MS = 3_600_000;

type Value = number | string;
type SdkOptions = Omit<SdkFunctionOptions, "input">;

let target: Target;
let digest: string;
let projectName: string;
let versionId: string;
beforeAll(async () => {
  target = openTarget();
  const project = await target.deploy({
    "main.ts": `
      import { Multinode } from "multinode";
      export const mn = new Multinode();
      export const plain = mn.function(() => 1);
      export const written = mn.function({
        name: "named", cpu: 2.5, memory: "1 GiB", timeout: "90s", maxConcurrency: 7, maxRetries: 3, retryDelay: "1s",
        gracePeriod: "10s", maxInvocationsPerWorker: Infinity, workerConcurrency: 4, minWorkers: 0, idleTimeout: "30s",
      }, () => 1);
    `,
  });
  ({ projectName, versionId } = project);
  const { version } = await target.client.registry.getVersion(project);
  if (version?.code?.source?.$case === "bundle") digest = version.code.source.value.digest;
});
afterAll(() => target.close());

/** Makes a version with one function of these options, and answers them as they were stored. */
async function store(options: Partial<FunctionOptions>) {
  const { version } = await target.client.registry.createVersion({
    projectName,
    projectPolicy: ProjectPolicy.MUST_EXIST,
    code: { source: { $case: "bundle", value: { digest } } },
    functions: [{ functionName: "f", options: FunctionOptions.fromPartial(options) }],
  });
  return version?.functions[0]?.options;
}

/** Options of the first version. */
async function stored(functionName: string) {
  const { function: spec } = await target.client.registry.getFunction({ projectName, versionId, functionName });
  return spec?.options;
}

describe.concurrent("function options", () => {
  test("defaults", async () => {
    expect(await stored("plain")).toEqual({
      cpu: 0.1,
      memoryBytes: 256 * 2 ** 20,
      timeoutMs: HOUR_MS,
      maxConcurrency: 10,
      maxRetries: 0,
      retryDelay: undefined,
      gracePeriodMs: 120_000,
      maxInvocationsPerWorker: 1,
      workerConcurrency: 1,
      minWorkers: 0,
      idleTimeoutMs: 60_000,
    });
  });

  test("options as they are written", async () => {
    const options = await stored("named");
    expect(options).toMatchObject({
      cpu: 2.5,
      memoryBytes: 2 ** 30,
      timeoutMs: 90_000,
      maxConcurrency: 7,
      maxRetries: 3,
      gracePeriodMs: 10_000,
      maxInvocationsPerWorker: 0,
      workerConcurrency: 4,
      minWorkers: 0,
      idleTimeoutMs: 30_000,
    });
    expect(options?.retryDelay).toMatchObject({ initialMs: 1_000 });
  });

  const reuse = { maxInvocationsPerWorker: 9 };
  /** An option of the SDK, the values at its bounds, the values beyond, and what else must be set. */
  const bounds: [keyof SdkOptions, Value[], Value[], SdkOptions][] = [
    ["cpu", [0.01, 16], [0, -1, 16.5, Number.NaN], {}],
    ["memory", ["512 KiB", "64 GiB"], ["0 MiB", "65 GiB", "12 apples", -1], {}],
    ["timeout", [1, "24h"], [0, "25h", -1, "soon"], {}],
    ["maxConcurrency", [1, 1_000], [0, 1_001, 1.5], {}],
    ["maxRetries", [0, 50], [-1, 51, 0.5], {}],
    ["gracePeriod", [0, "10m"], [-1, "11m"], {}],
    ["maxInvocationsPerWorker", [1, 1_000_000], [-1, 0, 1.5], {}],
    ["workerConcurrency", [1, 1_000], [0, 1_001], reuse],
    ["minWorkers", [0, 100], [-1, 101], {}],
    ["idleTimeout", [0, "1h"], [-1, "2h"], {}],
  ];

  test.each(bounds)(
    "%s is refused where it is written, with its name, the value and the bound",
    (name, good, bad, more) => {
      const define = (value: Value) => new Multinode().function({ ...more, [name]: value }, () => 1);
      for (const value of good) expect(() => define(value)).not.toThrow();
      for (const value of bad) {
        expect(() => define(value)).toThrow(expect.objectContaining({ reason: "ParameterValidationError" }));
        expect(() => define(value)).toThrow(name);
        expect(() => define(value)).toThrow(String(value));
      }
    },
  );

  const wireBounds: [string, Partial<FunctionOptions>, Partial<FunctionOptions>][] = [
    ["cpu", { cpu: 16 }, { cpu: 17 }],
    ["memory_bytes", { memoryBytes: 1 }, { memoryBytes: 0 }],
    ["memory_bytes", { memoryBytes: 64 * 2 ** 30 }, { memoryBytes: 64 * 2 ** 30 + 1 }],
    ["timeout_ms", { timeoutMs: 24 * HOUR_MS }, { timeoutMs: 24 * HOUR_MS + 1 }],
    ["timeout_ms", { timeoutMs: 1 }, { timeoutMs: 0 }],
    ["max_concurrency", { maxConcurrency: 1_000 }, { maxConcurrency: 1_001 }],
    ["max_retries", { maxRetries: 50 }, { maxRetries: 51 }],
    ["grace_period_ms", { gracePeriodMs: 600_000 }, { gracePeriodMs: 600_001 }],
    ["max_invocations_per_worker", { maxInvocationsPerWorker: 0 }, { maxInvocationsPerWorker: -1 }],
    ["worker_concurrency", { workerConcurrency: 1_000, ...reuse }, { workerConcurrency: 1_001, ...reuse }],
    ["worker_concurrency", { workerConcurrency: 2, ...reuse }, { workerConcurrency: 2 }],
    ["min_workers", {}, { minWorkers: 101 }],
    ["idle_timeout_ms", { idleTimeoutMs: HOUR_MS }, { idleTimeoutMs: HOUR_MS + 1 }],
  ];

  test.each(wireBounds)("%s is checked again by the registry: %j is good, %j is not", async (field, good, bad) => {
    expect(await store(good)).toMatchObject(good);
    const error = await errorOf(store(bad));
    expect(error).toMatchObject({ reason: "ParameterValidationError", code: 3 });
    const [value] = Object.values(bad);
    expect(error).toMatchObject({
      violations: [
        { field: `functions[0].options.${field}`, description: expect.stringContaining(JSON.stringify(value)) },
      ],
    });
  });

  test("workerConcurrency above 1 needs maxInvocationsPerWorker above 1, where it is written", () => {
    expect(() => new Multinode().function({ workerConcurrency: 2 }, () => 1)).toThrow(/workerConcurrency/);
  });

  test("an unknown option is refused", () => {
    const options = { memroy: "1 GiB" } as SdkOptions;
    expect(() => new Multinode().function(options, () => 1)).toThrow(/memroy/);
  });

  test("an unknown function has no options", async () => {
    await expect(stored("unknown")).rejects.toMatchObject({ reason: "FunctionDoesNotExist" });
  });
});
