import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { untilState, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { getContext, Multinode } from "multinode";
  import { passGate } from "./gate.js";
  export const mn = new Multinode();
  const warm = { maxInvocationsPerWorker: Infinity };

  export const add = mn.function(warm, (x: number, y: number) => x + y);
  export const addLater = mn.function(warm, async (x: number, y: number) => x + y);
  export const nothing = mn.function(warm, () => {});
  export const count = mn.function(warm, function* (gates: string[]) {
    for (let i = 0; i < gates.length; i += 1) yield i;
  });
  export const steps = mn.function(warm, async function* (gates: string[], last?: string) {
    for (const [i, gate] of gates.entries()) {
      yield "step " + i;
      await passGate(gate);
    }
    return last;
  });
  export const failAfter = mn.function(warm, async function* () {
    yield 1;
    yield 2;
    throw new RangeError("after two");
  });
  class TooBad extends Error {}
  export const fails = mn.function(warm, (kind: string, length = 0) => {
    switch (kind) {
      case "Error": throw new Error("plain");
      case "TypeError": throw new TypeError("of a type");
      case "class": throw new TooBad("own class");
      case "string": throw "just text";
      case "long": throw new Error("x".repeat(length));
      default: throw new Error(kind);
    }
  });
  export const big = mn.function(warm, (length: number) => "x".repeat(length));
  export const bigYield = mn.function(warm, function* (length: number) { yield "small"; yield "x".repeat(length); });
`;

let target: Target;
let project: DeployedProject;
const gates = await Gates.open();
beforeAll(async () => {
  target = openTarget();
  project = await target.deploy({ "main.ts": MAIN, "gate.ts": GATE_SOURCE });
});
afterAll(async () => {
  gates.close();
  await target.close();
});

describe.concurrent("results", () => {
  test.each(["add", "addLater"])("the value that %s returns is its result", async (name) => {
    const fn = project.fn(name);
    const id = await fn.start(1, 2);
    expect(await fn.awaitResult(id)).toBe(3);
    expect(await fn.get(id)).toMatchObject({ status: "SUCCEEDED", result: 3, error: undefined });
  });

  test("a function that returns nothing has no result", async () => {
    expect(await project.fn("nothing").callRemote()).toBeUndefined();
  });

  test("each yielded value is the result as it is yielded, for get and for watchers", async () => {
    const fn = project.fn("steps");
    const places = [gates.place(), gates.place(), gates.place()];
    const id = await fn.start(places);
    for (const [index, place] of places.entries()) {
      await untilState(fn, id, ({ result }) => result === `step ${index}`);
      expect(await fn.get(id)).toMatchObject({ status: "RUNNING", result: `step ${index}` });
      gates.open(place);
    }
    expect(await fn.awaitResult(id)).toBe("step 2");
  });

  test("at the end the result is the value that the generator returned", async () => {
    const fn = project.fn("steps");
    expect(await fn.callRemote([], "the last")).toBe("the last");
    const path = gates.place();
    gates.open(path);
    expect(await fn.callRemote([path], "the last")).toBe("the last");
  });

  test("where a generator returned none, the result is the last value yielded", async () => {
    expect(await project.fn("count").callRemote(["a", "b", "c"])).toBe(2);
  });

  test("the last yielded value stays visible in a status that is not a success", async () => {
    const fn = project.fn("failAfter");
    const id = await fn.start();
    await expect(fn.awaitResult(id)).rejects.toMatchObject({ reason: "InvocationFailedError" });
    expect(await fn.get(id)).toMatchObject({ status: "FAILED", result: 2, error: "RangeError: after two" });
  });

  test("a finished status and its result never change again", async () => {
    const fn = project.fn("add");
    const id = await fn.start(20, 22);
    const ended = await untilTerminated(fn, id);
    await expect(fn.cancel(id)).rejects.toMatchObject({ reason: "InvocationIsAlreadyTerminated" });
    expect(await fn.get(id)).toEqual(ended);
  });
});

describe.concurrent("errors of user code", () => {
  test.each([
    ["Error", "Error: plain"],
    ["TypeError", "TypeError: of a type"],
    ["class", "TooBad: own class"],
    ["string", "Error: 'just text'"],
  ])("the error of %s is its class and message", async (kind, error) => {
    const fn = project.fn("fails");
    const id = await fn.start(kind);
    await expect(fn.awaitResult(id)).rejects.toThrow(error);
    expect(await fn.get(id)).toMatchObject({ status: "FAILED", error, result: undefined });
  });

  test("a long error is cut at 16,384 characters with a mark that says so", async () => {
    const fn = project.fn("fails");
    const id = await fn.start("long", 20_000);
    const { error = "" } = await untilTerminated(fn, id);
    expect(error.length).toBeLessThanOrEqual(16_384);
    expect(error.length).toBeGreaterThan(16_380);
    expect(error).toMatch(/x… \[cut: \d+ characters\]$/);
  });

  test("the stack goes to the log", async () => {
    const fn = project.fn("fails");
    const id = await fn.start("TypeError");
    await untilTerminated(fn, id);
    const { lines } = await target.client.logs.listLogs({ invocationId: id });
    const text = lines.map((line) => line.text).join("\n");
    expect(text).toContain("TypeError: of a type");
    expect(text).toMatch(/at .*main\./);
    const { error } = await fn.get(id);
    expect(error).not.toContain(" at ");
  });
});

describe.concurrent("size limits", () => {
  test("an input above 250,000 bytes is refused before it is sent, with its size and the limit", async () => {
    const refused = project.fn("big").start("x".repeat(250_000));
    await expect(refused).rejects.toMatchObject({ reason: "FunctionInputSizeLimitExceeded", code: undefined });
    await expect(refused).rejects.toThrow(/250,?004.*250,?000/s);
  });

  test("the service refuses it too", async () => {
    const refused = target.client.invocations.startInvocation({
      projectName: project.projectName,
      functionName: "big",
      arguments: { positional: { contentType: "application/json", data: Buffer.from(`["${"x".repeat(250_000)}"]`) } },
    });
    await expect(refused).rejects.toMatchObject({ reason: "FunctionInputSizeLimitExceeded", code: 3 });
    await expect(refused).rejects.toThrow(/250,?004.*250,?000/s);
  });

  test("an input of exactly 250,000 bytes is taken", async () => {
    const fn = project.fn("fails");
    const id = await fn.start("x".repeat(250_000 - 4));
    expect((await untilTerminated(fn, id)).error).toMatch(/^Error: xxx/);
  });

  test("a result of exactly 250,000 bytes is recorded, and one above fails the execution with an error that says so", async () => {
    const fn = project.fn("big");
    expect(await fn.callRemote(250_000 - 2)).toHaveLength(249_998);
    const id = await fn.start(250_000 - 1);
    const { status, error } = await untilTerminated(fn, id);
    expect(status).toBe("FAILED");
    expect(error).toMatch(/250,?001.*250,?000/s);
  });

  test("a yielded value above the limit fails the execution too", async () => {
    const fn = project.fn("bigYield");
    const id = await fn.start(300_000);
    const { status, error, result } = await untilTerminated(fn, id);
    expect({ status, result }).toEqual({ status: "FAILED", result: "small" });
    expect(error).toMatch(/300,?002.*250,?000/s);
  });
});
