import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MultinodeError } from "../../sdk/typescript/src/index.js";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { errorOf, eventually, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { getContext, Multinode } from "multinode";
  import { passGate } from "./gate.js";
  export const mn = new Multinode();
  const warm = { maxInvocationsPerWorker: Infinity, workerConcurrency: 20, maxConcurrency: 20 };
  export const square = mn.function(warm, (x: number) => x * x);
  export const add = mn.function(warm, (x: number, y: number) => x + y);
  export const late = mn.function(warm, async (x: number | string) => {
    if (typeof x === "string") await passGate(x);
    return x;
  });
  export const failsAt3 = mn.function(warm, (x: number) => {
    if (x === 3) throw new RangeError("three");
    return x;
  });
  export const waits = mn.function(warm, (gate: string) => passGate(gate, getContext().signal));
  export const failsOrWaits = mn.function(warm, async (gate: string) => {
    if (gate === "") throw new Error("at once");
    await passGate(gate, getContext().signal);
    return "passed";
  });
`;

type Square = (x: number) => number;

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

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

async function* asynchronously<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}

describe.concurrent("map and starmap", () => {
  test("map starts an invocation for each input and yields in input order", async () => {
    const inputs = Array.from({ length: 50 }, (_, i) => i);
    const squares = inputs.map((x) => x * x);
    expect(await collect(project.fn<Square>("square").map(inputs))).toEqual(squares);
    expect(await collect(project.fn<Square>("square").map(asynchronously(inputs)))).toEqual(squares);
    expect(await collect(project.fn<Square>("square").map([]))).toEqual([]);
  });

  test("starmap takes lists of arguments", async () => {
    const fn = project.fn<(x: number, y: number) => number>("add");
    const inputs: [number, number][] = [
      [1, 2],
      [3, 4],
    ];
    expect(await collect(fn.starmap(inputs))).toEqual([3, 7]);
    expect(await collect(fn.starmap(asynchronously(inputs)))).toEqual([3, 7]);
  });

  test("yields in input order however they end, or as completed if asked", async () => {
    const fn = project.fn<(x: number | string) => number | string>("late");
    const gate = gates.place();
    const completed: (number | string)[] = [];
    for await (const result of fn.map([gate, 1, 2], { order: "completed" })) {
      completed.push(result);
      if (completed.length === 2) gates.open(gate);
    }
    expect(new Set(completed.slice(0, 2))).toEqual(new Set([1, 2]));
    expect(completed[2]).toBe(gate);

    const second = gates.place();
    const ordered = fn.map([second, 1, 2]);
    const first = ordered.next();
    await eventually(
      () => fn.list({ status: "SUCCEEDED" }),
      ({ invocationIds }) => invocationIds.length === 5,
    );
    gates.open(second);
    expect([(await first).value, ...(await collect(ordered))]).toEqual([second, 1, 2]);
  });

  test("an endless input works: a bounded window of it is read", async () => {
    let read = 0;
    const endless = function* () {
      for (;;) yield read++;
    };
    let seen = 0;
    for await (const result of project.fn<Square>("square").map(endless(), { window: 10 })) {
      expect(result).toBe(seen * seen);
      seen += 1;
      expect(read - seen).toBeLessThanOrEqual(10);
      if (seen === 60) break;
    }
    expect(seen).toBe(60);
  });

  test("no more than the window is in flight", async () => {
    const fn = project.fn<(gate: string) => void>("waits");
    const gate = gates.place();
    let read = 0;
    const inputs = function* () {
      for (; read < 9; read += 1) yield gate;
    };
    const results = fn.map(inputs(), { window: 3 });
    const first = results.next();
    await eventually(
      () => fn.list({ status: "RUNNING" }),
      ({ invocationIds }) => invocationIds.length >= 3,
    );
    expect((await fn.list()).invocationIds).toHaveLength(3);
    gates.open(gate);
    await first;
    expect(await collect(results)).toHaveLength(8);
  });

  test("an error is thrown at the place of its input, and says which input it was", async () => {
    const seen: unknown[] = [];
    const error = await errorOf(
      (async () => {
        for await (const result of project.fn<Square>("failsAt3").map([1, 2, 3, 4])) seen.push(result);
      })(),
    );
    expect(seen).toEqual([1, 2]);
    expect(error).toMatchObject({ reason: "InvocationFailedError", inputIndex: 2, input: 3 });
    expect(String(error)).toMatch(/input 2: .*RangeError: three/);
  });

  test("errors can be yielded as values", async () => {
    const results = await collect(project.fn<Square>("failsAt3").map([2, 3, 4], { errors: "return" }));
    expect(results).toMatchObject([2, { reason: "InvocationFailedError", inputIndex: 1 }, 4]);
    expect(results[1]).toBeInstanceOf(MultinodeError);
  });

  test("an error in making the inputs is thrown after the results before it", async () => {
    const inputs = function* () {
      yield 2;
      throw new Error("no more inputs");
    };
    const seen: number[] = [];
    const reading = (async () => {
      for await (const result of project.fn<Square>("square").map(inputs())) seen.push(result);
    })();
    await expect(reading).rejects.toThrow("no more inputs");
    expect(seen).toEqual([4]);
  });

  test("the rest is cancelled on an error if asked, and left running if not", async () => {
    const fn = project.fn<(gate: string) => string>("failsOrWaits");
    const gate = gates.place();
    for (const cancelRest of [true, false]) {
      const createdFrom = new Date();
      await expect(collect(fn.map(["", gate, gate], { cancelRest }))).rejects.toMatchObject({ inputIndex: 0 });
      const { invocationIds } = await fn.list({ createdFrom });
      const rest = invocationIds.slice(0, 2);
      expect(rest).toHaveLength(2);
      if (!cancelRest) gates.open(gate);
      for (const id of rest) {
        expect((await untilTerminated(fn, id)).status).toBe(cancelRest ? "CANCELLED" : "SUCCEEDED");
      }
    }
  });

  test("aborting the signal ends the iteration with its reason", async () => {
    const controller = new AbortController();
    const results = project.fn<(gate: string) => string>("failsOrWaits").map([gates.place()], {
      signal: controller.signal,
      cancelRest: true,
    });
    const next = errorOf(results.next());
    controller.abort(new Error("enough"));
    expect(await next).toMatchObject({ message: "enough" });
  });

  test("with an idempotency key each input has a key of its own", async () => {
    const fn = project.fn<Square>("square").withOptions({ idempotencyKey: crypto.randomUUID() });
    expect(await collect(fn.map([1, 2]))).toEqual([1, 4]);
    expect(await collect(fn.map([1, 2]))).toEqual([1, 4]);
    const error = await errorOf(collect(fn.map([1, 3])));
    expect(error).toMatchObject({ reason: "IdempotencyKeyReused", inputIndex: 1 });
  });
});
