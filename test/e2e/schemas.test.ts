import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { Multinode } from "multinode";
  import { z } from "zod";
  export const mn = new Multinode();
  const warm = { maxInvocationsPerWorker: Infinity };
  const size = z.object({ width: z.number().int().positive(), name: z.string().default("none") });
  export const one = mn.function({ ...warm, input: size }, ({ width, name }) => name + ":" + width);
  export const two = mn.function({ ...warm, input: z.tuple([z.string(), z.number()]) }, (text, times) => text.repeat(times));
  export const power = mn.function({ ...warm, input: z.tuple([z.number(), z.int().optional()]) }, (base, exponent = 2) => base ** exponent);
  export const middle = mn.function(
    { ...warm, input: z.tuple([z.string(), z.number().optional(), z.string().optional()]) },
    (...args) => args.length + ":" + args.join(),
  );
  export const lenient = mn.function(
    { ...warm, input: z.object({ price: z.number().multipleOf(0.01), dashed: z.string().regex(/^[\\w-.]+$/), letters: z.string().regex(/^\\p{L}+$/u), pair: z.string().regex(/^..$/) }) },
    ({ price, dashed, letters, pair }) => [price, dashed, letters, pair].join(),
  );
  export const out = mn.function({ ...warm, output: z.object({ sum: z.number() }) }, (sum: unknown) => ({ sum }));
  export const coerced = mn.function({ ...warm, input: z.object({ n: z.coerce.number().min(1) }) }, ({ n }) => n * 2);
  export const costly = mn.function({ ...warm, input: z.string().regex(/^(a+)+$/) }, (text: string) => text.length);
  export const nested = mn.function({ ...warm, input: z.object({ any: z.unknown(), list: z.array(z.number().optional()) }) }, ({ list }) => list.length);
  export const yields = mn.function({ ...warm, output: z.number() }, function* (values: unknown[]) { yield* values; });
`;

let target: Target;
let project: DeployedProject;
beforeAll(async () => {
  target = openTarget();
  project = await target.deploy({ "main.ts": MAIN });
});
afterAll(() => target.close());

describe.concurrent("input schema", () => {
  test("an input that fits is given to the function with its defaults", async () => {
    expect(await project.fn("one").callRemote({ width: 3 })).toBe("none:3");
    expect(await project.fn("two").callRemote("ab", 2)).toBe("abab");
    expect(await project.fn("power").callRemote(3)).toBe(9);
    expect(await project.fn("power").callRemote(3, undefined)).toBe(9);
    expect(await project.fn("middle").callRemote("a", undefined, "c")).toBe("3:a,,c");
    const exact = { price: 19.99, dashed: "a-b.c", letters: "Zoë", pair: "😀" };
    expect(await project.fn("lenient").callRemote(exact)).toBe("19.99,a-b.c,Zoë,😀");
    expect(await project.fn("coerced").callRemote({ n: "5" })).toBe(10);
    expect(await project.fn("nested").callRemote({ any: undefined, list: [1, undefined] })).toBe(2);
  });

  test.each([
    ["one", [{ width: "3" }], "arguments[0].width"],
    ["coerced", [{ n: 0 }], "arguments[0].n"],
    ["one", [{ width: -1 }], "arguments[0].width"],
    ["one", [{}], "arguments[0]"],
    ["one", [], "arguments"],
    ["one", [{ width: 1 }, 2], "arguments"],
    ["two", ["a"], "arguments"],
    ["lenient", [{ price: 1.005, dashed: "a", letters: "b", pair: "ab" }], "arguments[0].price"],
    ["lenient", [{ price: 1, dashed: "a b", letters: "b", pair: "ab" }], "arguments[0].dashed"],
    ["lenient", [{ price: 1, dashed: "a", letters: "1", pair: "ab" }], "arguments[0].letters"],
    ["lenient", [{ price: 1, dashed: "a", letters: "b", pair: "abc" }], "arguments[0].pair"],
    ["two", ["a", "b"], "arguments[1]"],
    ["middle", ["a", "b", "c"], "arguments[1]"],
  ])("%s(%j) is refused at the edge, with the path, and nothing is queued", async (name, args, path) => {
    const fn = project.fn(name);
    const refused = fn.start(...args);
    await expect(refused).rejects.toMatchObject({ reason: "FunctionInputIsInvalid", code: 3 });
    const violations = await refused.catch(
      (error: { violations: { field: string; description: string }[] }) => error.violations,
    );
    expect(violations).toEqual([
      expect.objectContaining({ field: expect.stringContaining(path), description: expect.stringMatching(/./) }),
    ]);
  });

  test("an input whose check would take for ever is refused, with those beside it that are not valid", async () => {
    const costly = project.fn("costly");
    const [endless, valid] = ["a".repeat(60) + "b", "a".repeat(5)];
    const refused = await costly.start(endless).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      reason: "FunctionInputIsInvalid",
      violations: [{ field: "arguments", description: "takes longer than 100 ms to check against its schema" }],
    });
    const starts = await Promise.allSettled([valid, endless, "b", valid].map((text) => costly.callRemote(text)));
    expect(starts.map((start) => (start.status === "fulfilled" ? start.value : "refused"))).toEqual([
      5,
      "refused",
      "refused",
      5,
    ]);
  });

  test("the schema is stored as JSON Schema", async () => {
    const { function: spec } = await target.client.registry.getFunction({
      projectName: project.projectName,
      functionName: "two",
    });
    expect(JSON.parse(spec?.inputSchema ?? "")).toMatchObject({
      type: "array",
      prefixItems: [{ type: "string" }, { type: "number" }],
    });
  });
});

describe("nothing is queued", () => {
  test("for an input that is refused", async () => {
    const fn = project.fn("one");
    const { invocationIds: before } = await fn.list();
    await expect(fn.start({ width: 0 })).rejects.toMatchObject({ reason: "FunctionInputIsInvalid" });
    expect((await fn.list()).invocationIds).toEqual(before);
  });
});

describe.concurrent("output schema", () => {
  test("a result that fits is recorded", async () => {
    expect(await project.fn("out").callRemote(5)).toEqual({ sum: 5 });
    expect(await project.fn("yields").callRemote([1, 2])).toBe(2);
  });

  test("a result that does not fit fails the execution, and is not recorded", async () => {
    const fn = project.fn("out");
    const ended = await untilTerminated(fn, await fn.start("five"));
    expect(ended).toMatchObject({ status: "FAILED", result: undefined });
    expect(ended.error).toMatch(/^FunctionOutputIsInvalid: .*sum/s);
  });

  test("a yielded value that does not fit fails the execution, and the one before stays", async () => {
    const fn = project.fn("yields");
    const ended = await untilTerminated(fn, await fn.start([1, "two"]));
    expect(ended).toMatchObject({ status: "FAILED", result: 1 });
    expect(ended.error).toMatch(/^FunctionOutputIsInvalid: /);
    const none = await untilTerminated(fn, await fn.start([]));
    expect(none.error).toMatch(/^FunctionOutputIsInvalid: .*undefined/s);
  });
});
