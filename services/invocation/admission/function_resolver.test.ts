import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ResolvedFunction } from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import { FunctionSpec } from "../../../gen/multinode/registry/v1/function.pb.js";
import { Refusal } from "../../platform/errors.js";
import { FunctionResolver } from "./function_resolver.js";

const { signal } = new AbortController();

/** Names of the functions of each request to the registry. */
let asked: string[][];
let cacheMs: number;
let versionId: string;
let resolver: FunctionResolver;

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  [cacheMs, versionId] = [100, "ver-1"];
  resolver = new FunctionResolver({
    resolveFunctions: ({ functions = [] }) => {
      asked.push(functions.map(({ functionName = "" }) => functionName));
      const outcomes = functions.map(({ projectName = "", functionName = "" }) => {
        if (functionName === "missing")
          return { outcome: { $case: "errorReason", value: "FunctionDoesNotExist" } } as const;
        const value = {
          projectId: "prj-1",
          projectName,
          versionId,
          function: FunctionSpec.fromPartial({ functionName }),
        };
        return { outcome: { $case: "function", value } } as const;
      });
      return Promise.resolve({ outcomes, cacheMs });
    },
  });
});

afterEach(() => {
  vi.useRealTimers();
});

/** "version function" of each, or the reason of its refusal. */
async function resolve(...functionNames: string[]): Promise<string[]> {
  const refs = functionNames.map((functionName) => ({ projectName: "p", versionId: "", functionName }));
  const outcomes = await resolver.resolve(refs, signal);
  const text = (found: ResolvedFunction) => `${found.versionId} ${found.function?.functionName}`;
  return outcomes.map((outcome) => (outcome instanceof Refusal ? outcome.reason : text(outcome)));
}

test("asks for what it does not remember, and answers in order", async () => {
  expect(await resolve("a", "missing", "b")).toEqual(["ver-1 a", "FunctionDoesNotExist", "ver-1 b"]);
  expect(await resolve("c", "b", "missing", "a")).toEqual(["ver-1 c", "ver-1 b", "FunctionDoesNotExist", "ver-1 a"]);
  expect(await resolve("b", "a")).toEqual(["ver-1 b", "ver-1 a"]);
  expect(asked).toEqual([
    ["a", "missing", "b"],
    ["c", "missing"],
  ]);
});

test("remembers from when it asked, for as long as the registry says", async () => {
  await resolve("a");
  versionId = "ver-2";
  vi.advanceTimersByTime(99);
  expect(await resolve("a")).toEqual(["ver-1 a"]);
  vi.advanceTimersByTime(1);
  expect(await resolve("a")).toEqual(["ver-2 a"]);
});

test("remembers nothing where the registry does not say so", async () => {
  cacheMs = 0;
  await resolve("a");
  versionId = "ver-2";
  expect(await resolve("a")).toEqual(["ver-2 a"]);
});
