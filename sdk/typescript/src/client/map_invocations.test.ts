import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { getDeployedFunction } from "../deployed.js";
import { InvocationFailedError, MultinodeError } from "../errors.js";
import type { FunctionHandle } from "../function_handle.js";
import { FakeServer } from "../testing/fake_server.js";
import { MultinodeClient } from "./client.js";

let server: FakeServer;
let client: MultinodeClient;
let double: FunctionHandle<[n: number], number>;

const SUCCEEDED = 4;
const FAILED = 5;

beforeEach(async () => {
  server = new FakeServer();
  server.autoFinish = ([n]) => ({ status: SUCCEEDED, terminated: true, result: Number(n) * 2 });
  await server.listen();
  client = new MultinodeClient({ apiUrl: server.url, apiKey: "k" });
  double = getDeployedFunction<(n: number) => number>({ projectName: "p", functionName: "double", client });
});

afterEach(async () => {
  await client.close();
  server.stop();
});

async function collect<T>(results: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const result of results) all.push(result);
  return all;
}

function* upTo(end: number): Generator<number> {
  for (let n = 0; n < end; n += 1) yield n;
}

describe("results", () => {
  test("come in the order of the inputs, in few requests, on one stream", async () => {
    await expect(collect(double.map(upTo(3_000)))).resolves.toStrictEqual(
      Array.from({ length: 3_000 }, (_, n) => n * 2),
    );
    expect(server.batches.length).toBeLessThan(300);
    expect(server.streamsOpened).toBe(1);
  });

  test("of an async input, and of lists of arguments", async () => {
    async function* inputs() {
      yield 1;
      await Promise.resolve();
      yield 2;
    }
    await expect(collect(double.map(inputs()))).resolves.toStrictEqual([2, 4]);
    server.autoFinish = ([a, b]) => ({ status: SUCCEEDED, terminated: true, result: [a, b] });
    const pair = getDeployedFunction<(a: number, b: string) => [number, string]>({
      projectName: "p",
      functionName: "pair",
      client,
    });
    await expect(
      collect(
        pair.starmap([
          [1, "a"],
          [2, "b"],
        ]),
      ),
    ).resolves.toStrictEqual([
      [1, "a"],
      [2, "b"],
    ]);
    await expect(collect(double.map([]))).resolves.toStrictEqual([]);
  });

  test("come as they are completed, if asked", async () => {
    const ids: string[] = [];
    server.autoFinish = (_, id) => {
      ids.push(id);
      return undefined;
    };
    const results = collect(double.map([0, 1, 2], { order: "completed" }));
    await vi.waitFor(() => expect(server.watchRequests.flatMap(({ add }) => add)).toHaveLength(3));
    const seen = [ids[2], ids[0], ids[1]];
    for (const [n, id] of seen.entries()) {
      server.succeed(id ?? "", n);
      await client.awaitFinished(id ?? "");
    }
    await expect(results).resolves.toStrictEqual([0, 1, 2]);
  });
});

test("an idempotency key without room for the places of the inputs is refused before anything is started", async () => {
  const keyed = (length: number) => double.withOptions({ idempotencyKey: "k".repeat(length) });
  await expect(collect(keyed(119).map([1, 2]))).rejects.toMatchObject({ violations: [{ field: "idempotencyKey" }] });
  expect(server.starts).toHaveLength(0);
  await expect(collect(keyed(118).map([1, 2]))).resolves.toStrictEqual([2, 4]);
});

describe("the window", () => {
  test("bounds what is read of an endless input", async () => {
    let read = 0;
    function* endless() {
      for (;;) {
        yield read;
        read += 1;
      }
    }
    server.autoFinish = () => undefined;
    const results = double.map(endless(), { window: 10 });
    const first = results.next();
    await vi.waitFor(() => expect(server.starts).toHaveLength(10));
    server.succeed(`inv-${"1".padStart(26, "0")}`, 0);
    await expect(first).resolves.toMatchObject({ value: 0 });
    expect(read).toBeLessThanOrEqual(11);
    await results.return();
  });

  test("stays full over a long input, in constant memory", async () => {
    let taken = 0;
    function* endless() {
      for (let n = 0; ; n += 1) yield n;
    }
    for await (const result of double.map(endless(), { window: 100 })) {
      expect(result).toBe(taken * 2);
      taken += 1;
      if (taken === 2_000) break;
    }
    expect(server.starts.length).toBeLessThanOrEqual(2_100);
  });

  test("is filled again by several starts together, where results come one by one, and by one left alone soon", async () => {
    server.autoFinish = () => undefined;
    const results = double.map(upTo(80), { window: 64 });
    const takeNext = async (n: number) => {
      const next = results.next();
      const id = `inv-${String(n + 1).padStart(26, "0")}`;
      const watched = () => server.watchRequests.flatMap(({ add }) => add.map(({ invocationId }) => invocationId));
      await vi.waitFor(() => expect(watched()).toContain(id));
      server.succeed(id, n * 2);
      await expect(next).resolves.toMatchObject({ value: n * 2 });
    };
    await takeNext(0);
    const { length } = server.batches;
    for (let n = 1; n < 13; n += 1) await takeNext(n);
    // A sixteenth of it is four; on a slow machine some of them have waited long enough before.
    const waiting = results.next();
    await vi.waitFor(() => expect(server.starts).toHaveLength(77));
    expect(server.batches.length - length).toBeLessThan(8);
    await client.close();
    await expect(waiting).rejects.toThrow("closed");
  });

  test.each([0, 1.5, 100_001])("of %d is refused", async (window) => {
    await expect(collect(double.map([1], { window }))).rejects.toMatchObject({ violations: [{ field: "window" }] });
  });
});

describe("errors", () => {
  const failOnThree = ([n]: unknown[]) =>
    n === 3
      ? ({ status: FAILED, terminated: true, error: "RangeError: three" } as const)
      : ({ status: SUCCEEDED, terminated: true, result: n } as const);

  test("are thrown at the place of their input, which they name", async () => {
    server.autoFinish = failOnThree;
    const seen: number[] = [];
    const run = (async () => {
      for await (const result of double.map([1, 2, 3, 4])) seen.push(result);
    })();
    await expect(run).rejects.toThrow(InvocationFailedError);
    await expect(run).rejects.toMatchObject({
      inputIndex: 2,
      input: 3,
      message: expect.stringMatching(/^input 2: .*RangeError: three/),
    });
    expect(seen).toStrictEqual([1, 2]);
  });

  test("are values, if asked", async () => {
    server.autoFinish = failOnThree;
    const results = await collect(double.map([1, 3, 4], { errors: "return" }));
    expect(results).toMatchObject([1, { reason: "InvocationFailedError", inputIndex: 1 }, 4]);
    expect(results[1]).toBeInstanceOf(MultinodeError);
  });

  test("of starts and of encoding name their input too", async () => {
    server.refuse = (request) =>
      request.arguments?.positional?.data.toString() === "[1]" ? "FunctionInputIsInvalid" : undefined;
    const results = await collect(double.map([0, 1, (() => 1) as never, 3], { errors: "return" }));
    expect(results).toMatchObject([
      0,
      { reason: "FunctionInputIsInvalid", input: 1 },
      { inputIndex: 2, reason: "ValueIsUnsupportedError", cause: { path: "$[0]" } },
      6,
    ]);
    expect(results[2]).toBeInstanceOf(MultinodeError);
  });

  test("of an input whose own error cannot be changed are errors of that input", async () => {
    const frozen = Object.freeze(new Error("frozen"));
    const hostile = {
      get n(): number {
        throw frozen;
      },
    };
    const results = await collect(double.map([1, hostile as never, 2], { errors: "return" }));
    expect(results).toMatchObject([2, { inputIndex: 1, message: "input 1: frozen", cause: frozen }, 4]);
  });

  test.each<[string, () => unknown, string]>([
    ["throws at once", () => expect.fail("closed"), "closed"],
    ["is no object", () => undefined, "no object"],
  ])("of an async input whose next step %s come after the results before it", async (_, next, message) => {
    let steps = 0;
    // `for await` takes steps that are no promises as well.
    const iterator = { next: () => (steps++ < 2 ? { done: false, value: steps } : next()) };
    const inputs = { [Symbol.asyncIterator]: () => iterator } as unknown as AsyncIterable<number>;
    const seen: number[] = [];
    const run = (async () => {
      for await (const result of double.map(inputs)) seen.push(result);
    })();
    await expect(run).rejects.toThrow(message);
    expect(seen).toStrictEqual([2, 4]);
  });

  test("of the whole request are an error of each input", async () => {
    server.stop();
    await using impatient = new MultinodeClient({ apiUrl: server.url, apiKey: "k", retryForMs: 1 });
    const fn = getDeployedFunction<(n: number) => number>({ projectName: "p", functionName: "f", client: impatient });
    const results = await collect(fn.map([5, 6], { errors: "return" }));
    expect(results).toMatchObject([
      { inputIndex: 0, input: 5 },
      { inputIndex: 1, input: 6 },
    ]);
  });

  test("of the input come after the results before it", async () => {
    function* inputs() {
      yield 1;
      throw new Error("no more");
    }
    const seen: number[] = [];
    const run = (async () => {
      for await (const result of double.map(inputs())) seen.push(result);
    })();
    await expect(run).rejects.toThrow("no more");
    expect(seen).toStrictEqual([2]);
  });
});

describe("an early end", () => {
  test("closes the input and leaves the rest alone", async () => {
    let closed = false;
    function* inputs() {
      try {
        yield* upTo(1_000);
      } finally {
        closed = true;
      }
    }
    for await (const result of double.map(inputs(), { window: 5 })) {
      expect(result).toBe(0);
      break;
    }
    expect(closed).toBe(true);
    expect(server.cancelled).toStrictEqual([]);
  });

  test("cancels the rest, if asked", async () => {
    server.autoFinish = ([n]) => (n === 0 ? { status: FAILED, terminated: true, error: "Error: no" } : undefined);
    await expect(collect(double.map(upTo(100), { window: 8, cancelRest: true }))).rejects.toThrow("input 0");
    expect(server.cancelled.toSorted()).toStrictEqual(
      Array.from({ length: server.cancelled.length }, (_, n) => `inv-${String(n + 2).padStart(26, "0")}`),
    );
    expect(server.cancelled.length).toBe(server.starts.length - 1);
  });

  test("goes before an error of the input's own end, and cancels the rest all the same", async () => {
    server.autoFinish = ([n]) => (n === 0 ? { status: FAILED, terminated: true, error: "Error: no" } : undefined);
    const inputs = () => {
      const numbers = upTo(100);
      const end = (): never => expect.fail("cleanup failed");
      return { [Symbol.iterator]: () => ({ next: () => numbers.next(), return: end }) };
    };
    await expect(collect(double.map(inputs(), { window: 8, cancelRest: true }))).rejects.toThrow("input 0");
    expect(server.cancelled.length).toBe(server.starts.length - 1);
    server.autoFinish = ([n]) => ({ status: SUCCEEDED, terminated: true, result: n });
    const leaving = (async () => {
      for await (const _ of double.map(inputs(), { window: 8 })) break;
    })();
    await expect(leaving).rejects.toThrow("cleanup failed");
  });

  test("an abort throws the signal's reason, also while an async input waits", async () => {
    const abort = new AbortController();
    async function* stuck(): AsyncGenerator<number> {
      yield 1;
      await new Promise(() => undefined);
    }
    const seen: number[] = [];
    const run = (async () => {
      for await (const result of double.map(stuck(), { signal: abort.signal })) seen.push(result);
    })();
    await vi.waitFor(() => expect(seen).toStrictEqual([2]));
    const reason = new Error("enough");
    abort.abort(reason);
    await expect(run).rejects.toBe(reason);
  });
});

test("an idempotency key is made distinct for each input", async () => {
  await collect(double.withOptions({ idempotencyKey: "job" }).map([1, 2]));
  expect(server.starts.map(({ idempotencyKey }) => idempotencyKey)).toStrictEqual(["job:0", "job:1"]);
});
