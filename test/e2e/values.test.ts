import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { Multinode } from "multinode";
  export const mn = new Multinode();
  const warm = { maxInvocationsPerWorker: Infinity, workerConcurrency: 20 };
  export const echo = mn.function(warm, (value: unknown) => value);
  export const yieldIt = mn.function(warm, function* (value: unknown) { yield value; });
  export const describe = mn.function(warm, (value: unknown) => Object.prototype.toString.call(value));
  export const rest = mn.function(warm, (...args: unknown[]) => args);
  export const cyclic = mn.function(warm, () => {
    const list: unknown[] = [1];
    list.push({ again: list });
    return { list };
  });
  export const response = mn.function(warm, async () => ({ page: await fetch("data:,hello") }));
  export const iterator = mn.function(warm, () => new Map([["a", 1]]).values());
  export const unsupported = mn.function(warm, () => ({ deep: [() => 1] }));
`;

const JSON_VALUES: readonly (readonly [string, unknown])[] = [
  ["null", null],
  ["true", true],
  ["a number", 1.5],
  ["the smallest number", Number.MIN_VALUE],
  ["text", 'ä 漢 \u{1f600} \u0000 " \\'],
  ["a list", [1, [2, []], {}]],
  ["an object", { a: { b: [null] }, "": 0, ä: "x" }],
];
const OTHER_VALUES: readonly (readonly [string, unknown])[] = [
  ["undefined in a list", [undefined, 1]],
  ["undefined in an object", { a: undefined }],
  ["NaN", Number.NaN],
  ["infinity", Number.POSITIVE_INFINITY],
  ["minus infinity", Number.NEGATIVE_INFINITY],
  ["-0", -0],
  ["a small bigint", 5n],
  ["a large bigint", -(2n ** 100n)],
  ["a date", new Date(1_700_000_000_123)],
  [
    "a map",
    new Map<unknown, unknown>([
      ["a", 1],
      [{ k: 1 }, new Map()],
    ]),
  ],
  ["a set", new Set<unknown>([1, "a", [2]])],
  ["bytes", new Uint8Array([0, 255, 3])],
  ["Float64Array", new Float64Array([1.5, -0, Number.NaN])],
  ["Int16Array", new Int16Array([-1, 2])],
  ["BigUint64Array", new BigUint64Array([2n ** 63n])],
  ["all of it, nested", { list: [new Date(0), new Set([1n]), { map: new Map([[Number.NaN, undefined]]) }] }],
];

let target: Target;
let project: DeployedProject;
beforeAll(async () => {
  target = openTarget();
  project = await target.deploy({ "main.ts": MAIN });
});
afterAll(() => target.close());

/** An invocation started by another language: the bytes of its arguments, and those of its result. */
async function raw(functionName: string, positional: string | undefined, named?: string) {
  const payload = (text: string | undefined) =>
    text === undefined ? undefined : { contentType: "application/json", data: Buffer.from(text) };
  const { invocationId } = await target.client.invocations.startInvocation({
    projectName: project.projectName,
    functionName,
    arguments: { positional: payload(positional), named: payload(named) },
  });
  await project.fn(functionName).awaitResult(invocationId);
  const { invocation } = await target.client.invocations.getInvocation({ invocationId });
  return invocation?.result;
}

describe.concurrent("values", () => {
  test.each([...JSON_VALUES, ...OTHER_VALUES])(
    "%s goes both ways as argument, result and yield",
    async (_name, value) => {
      expect(await project.fn("echo").callRemote(value)).toStrictEqual(value);
      expect(await project.fn("yieldIt").callRemote(value)).toStrictEqual(value);
    },
  );

  test("undefined as an argument among others", async () => {
    expect(await project.fn("rest").callRemote(undefined, 1, undefined)).toStrictEqual([undefined, 1, undefined]);
  });

  test.each([
    [new Date(0), "[object Date]"],
    [new Map(), "[object Map]"],
    [new Set(), "[object Set]"],
    [new Uint8Array(1), "[object Uint8Array]"],
    [1n, "[object BigInt]"],
    [new TypeError("x"), "[object Error]"],
  ])("a function is given the value itself: %o", async (value, tag) => {
    expect(await project.fn("describe").callRemote(value)).toBe(tag);
  });

  test("an error keeps its name, its message and its properties", async () => {
    const error = Object.assign(new RangeError("too far"), { code: "EFAR", status: 416 });
    const answer = await project.fn("echo").callRemote(error);
    expect(answer).toBeInstanceOf(Error);
    expect(answer).toMatchObject({ name: "RangeError", message: "too far", code: "EFAR", status: 416 });
  });

  test("a cycle in an argument is refused with its path, and nothing starts", async () => {
    const object: Record<string, unknown> = { list: [] };
    object["list"] = [1, object];
    await expect(project.fn("echo").start(object)).rejects.toThrow(/list\[1\]/);
  });

  test("a cycle or a function in a result fails the execution with its path", async () => {
    await expect(project.fn("cyclic").callRemote()).rejects.toThrow(/list\[1\]\.again/);
    await expect(project.fn("unsupported").callRemote()).rejects.toThrow(/deep\[0\]/);
  });

  test("what would lose its content is refused with its path", async () => {
    await expect(project.fn("response").callRemote()).rejects.toThrow(/\$\.page.*class Response.*response\.json/);
    await expect(project.fn("echo").start({ q: new URLSearchParams("a=b") })).rejects.toThrow(/\.q\b.*URLSearchParams/);
  });

  test("an iterator that a function returns is no generator, and is refused", async () => {
    await expect(project.fn("iterator").callRemote()).rejects.toThrow(/iterator; send an array/);
  });
});

describe.concurrent("payloads on the wire", () => {
  test.each(JSON_VALUES)("%s is plain JSON", async (_name, value) => {
    const result = await raw("echo", JSON.stringify([value]));
    expect(result?.contentType).toBe("application/json");
    expect(JSON.parse(String(result?.data))).toStrictEqual(value);
  });

  test("what JSON cannot carry is CBOR", async () => {
    const fn = project.fn("echo");
    const invocationId = await fn.start(new Date(0));
    await fn.awaitResult(invocationId);
    const { invocation } = await target.client.invocations.getInvocation({ invocationId });
    expect(invocation?.result?.contentType).toBe("application/cbor");
    // Tag 1 or 0 of RFC 8949: a date.
    expect(invocation?.result?.data[0]).toBeOneOf([0xc0, 0xc1]);
  });

  test("an absent content type means JSON", async () => {
    const { invocationId } = await target.client.invocations.startInvocation({
      projectName: project.projectName,
      functionName: "rest",
      arguments: { positional: { data: Buffer.from("[1,2]") } },
    });
    expect(await project.fn("rest").awaitResult(invocationId)).toEqual([1, 2]);
  });
});

describe.concurrent("arguments", () => {
  test("positional ones", async () => {
    expect(await project.fn("rest").callRemote(1, "b", [3])).toEqual([1, "b", [3]]);
    expect(await project.fn("rest").callRemote()).toEqual([]);
  });

  test("named ones come as one object after the positional ones", async () => {
    expect(JSON.parse(String((await raw("rest", "[1]", '{"y":2}'))?.data))).toEqual([1, { y: 2 }]);
    expect(JSON.parse(String((await raw("rest", undefined, '{"y":2}'))?.data))).toEqual([{ y: 2 }]);
  });
});
