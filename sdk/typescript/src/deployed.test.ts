import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, expectTypeOf, test, vi } from "vitest";
import { z } from "zod";
import { MultinodeClient } from "./client/client.js";
import { type RunningExecution, runInContext } from "./definition/context.js";
import { discover } from "./definition/discover.js";
import { Multinode } from "./definition/multinode.js";
import { type DeployedFunction, getDeployedFunction } from "./deployed.js";
import {
  CredentialsMissingError,
  FunctionInputSizeLimitExceeded,
  InvocationCancelledError,
  InvocationTimedOutError,
  ParameterValidationError,
} from "./errors.js";
import type { FunctionHandle, OnlyArgument } from "./function_handle.js";
import type { Invocation } from "./invocation.js";
import { FakeServer } from "./testing/fake_server.js";
import type * as tasks from "./testing/tasks_main.js";

const LOADED = Symbol.for("multinode.testing.tasksMainLoaded");

let server: FakeServer;
let client: MultinodeClient;

beforeEach(async () => {
  server = new FakeServer();
  server.autoFinish = ([a, b]) => ({ status: 4, terminated: true, result: Number(a) + Number(b) });
  await server.listen();
  client = new MultinodeClient({ apiUrl: server.url, apiKey: "key" });
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await client.close();
  server.stop();
});

describe("a deployed function", () => {
  test("has the types of what main exports, without loading it", async () => {
    const add = getDeployedFunction<typeof tasks.add>({ projectName: "p", functionName: "add", client });
    expectTypeOf(add).toEqualTypeOf<FunctionHandle<[a: number, b: number], number>>();
    const count = getDeployedFunction<typeof tasks.count>({ projectName: "p", functionName: "count", client });
    expectTypeOf(count).toEqualTypeOf<FunctionHandle<[to: number], { n: number }>>();
    await expect(add.callRemote(2, 3)).resolves.toBe(5);
    expect(Reflect.get(globalThis, LOADED)).toBeUndefined();
  });

  test("has a type of what it ends with, and one of what it shows before", () => {
    function* steps(to: number) {
      yield to;
      return "done";
    }
    const names = { projectName: "p", functionName: "f", client };
    const handle = getDeployedFunction<typeof steps>(names);
    expectTypeOf(handle).toEqualTypeOf<FunctionHandle<[to: number], string, number | string>>();
    type Handle = typeof handle;
    type Shown = Invocation<number | string>;
    expectTypeOf<ReturnType<Handle["callRemote"]>>().toEqualTypeOf<Promise<string>>();
    expectTypeOf<ReturnType<Handle["get"]>>().toEqualTypeOf<Promise<Shown>>();
    expectTypeOf<ReturnType<Handle["watch"]>>().toEqualTypeOf<AsyncGenerator<Shown, void, undefined>>();
    expectTypeOf(handle.map([1])).toEqualTypeOf<AsyncGenerator<string, void, undefined>>();
    const made = new Multinode().function(steps);
    expectTypeOf(getDeployedFunction<typeof made>(names)).toEqualTypeOf(handle);
  });

  test("has the type of bytes where a Buffer is returned, which arrives as bytes", () => {
    const names = { projectName: "p", functionName: "f", client };
    const image = getDeployedFunction<() => Promise<Buffer>>(names);
    expectTypeOf(image).toEqualTypeOf<FunctionHandle<[], Uint8Array>>();
    const perhaps = getDeployedFunction<() => AsyncGenerator<number, Buffer | null>>(names);
    expectTypeOf(perhaps).toEqualTypeOf<FunctionHandle<[], Uint8Array | null, number | Uint8Array | null>>();
    const anything = getDeployedFunction<(value: Uint16Array) => unknown>(names);
    expectTypeOf(anything).toEqualTypeOf<FunctionHandle<[value: Uint16Array], unknown>>();
  });

  test("has the types that its schemas give", () => {
    const output = z.object({ width: z.number(), unit: z.string().default("px") });
    const made = new Multinode().function({ input: z.number(), output }, async function* (width) {
      yield { width };
    });
    const handle = getDeployedFunction<typeof made>({ projectName: "p", functionName: "f", client });
    expectTypeOf(handle).toEqualTypeOf<FunctionHandle<[value: number], { width: number; unit: string }>>();
  });

  test("is mapped over single arguments where it takes one", () => {
    const of = <F>() => getDeployedFunction<F>({ projectName: "p", functionName: "f", client }) as DeployedFunction<F>;
    const pair = of<typeof tasks.add>();
    // @ts-expect-error: the second argument would be missing
    pair.map([1]);
    async function* stream() {
      yield 1;
    }
    // @ts-expect-error: the same for an async input
    pair.map(stream(), { errors: "return" });
    // @ts-expect-error: a function without parameters takes no argument
    of<() => void>().map([1]);
    // @ts-expect-error: an argument of another type
    of<(n: number) => void>().map(["1"]);
    of<(n: number, unit?: string) => void>().map([1]);
    of<(n?: number) => void>().map([1, undefined]);
    of<(...all: number[]) => void>().map([1]);
    of<(n: number, ...more: string[]) => void>().map([1]);
    getDeployedFunction({ projectName: "p", functionName: "f", client }).map([1, "2"]);
    pair.starmap([[1, 2]]);
    expectTypeOf<OnlyArgument<[n?: number]>>().toEqualTypeOf<number | undefined>();
  });

  test("starts, gets, lists, watches, awaits and cancels", async () => {
    const add = getDeployedFunction<typeof tasks.add>({
      projectName: "p",
      functionName: "add",
      versionId: "ver-1",
      client,
    });
    const id = await add.start(1, 2);
    expect(server.starts).toMatchObject([{ projectName: "p", functionName: "add", versionId: "ver-1" }]);
    await expect(add.get(id)).resolves.toMatchObject({ status: "SUCCEEDED", result: 3 });
    await expect(add.awaitResult(id)).resolves.toBe(3);
    const states = [];
    for await (const { status } of add.watch(id)) states.push(status);
    expect(states).toStrictEqual(["SUCCEEDED"]);
    await expect(add.cancel(id)).rejects.toMatchObject({ reason: "InvocationIsAlreadyTerminated" });
    await add.start(1, 2);
    const first = await add.list({ pageSize: 1 });
    expect(first.invocationIds).toHaveLength(1);
    const second = await add.list({ pageSize: 1, offset: first.offset });
    expect(second).toMatchObject({ invocationIds: [id], offset: undefined });
  });

  test("neither awaits nor watches an invocation of another function, project or version", async () => {
    const names = { projectName: "p", functionName: "add", client };
    const id = await getDeployedFunction<typeof tasks.add>(names).start(1, 2);
    for (const other of [{ functionName: "count" }, { projectName: "q" }, { versionId: `ver-${"0".repeat(26)}` }]) {
      const stranger = getDeployedFunction<typeof tasks.count>({ ...names, ...other });
      const refused = { reason: "InvocationDoesNotExist", metadata: { invocationId: id } };
      await expect(stranger.awaitResult(id)).rejects.toMatchObject(refused);
      await expect(stranger.watch(id).next()).rejects.toMatchObject(refused);
    }
  });

  test("throws how the invocation ended", async () => {
    server.autoFinish = () => ({ status: 7, terminated: true, error: "Error: slow" });
    const add = getDeployedFunction<typeof tasks.add>({ projectName: "p", functionName: "add", client });
    const run = add.callRemote(1, 2);
    await expect(run).rejects.toThrow(InvocationTimedOutError);
    await expect(run).rejects.toMatchObject({ invocation: { status: "TIMED_OUT" } });
  });

  test("sends its options with each start", async () => {
    const add = getDeployedFunction<typeof tasks.add>({ projectName: "p", functionName: "add", client });
    await add.withOptions({ idempotencyKey: "k1", ttl: "1h" }).start(1, 2);
    expect(server.starts).toMatchObject([{ idempotencyKey: "k1", ttlMs: 3_600_000 }]);
    expect(() => add.withOptions({ idempotencyKey: "", ttl: "400d" })).toThrow(ParameterValidationError);
    const abort = new AbortController();
    server.autoFinish = () => undefined;
    const run = add.withOptions({ signal: abort.signal }).callRemote(1, 2);
    abort.abort(new Error("enough"));
    await expect(run).rejects.toThrow("enough");
  });

  test("cancels on abort only if asked", async () => {
    server.autoFinish = () => undefined;
    const add = getDeployedFunction<typeof tasks.add>({ projectName: "p", functionName: "add", client });
    const id = await add.start(1, 2);
    const abort = new AbortController();
    const left = add.awaitResult(id, { signal: abort.signal });
    const ended = add.awaitResult(id, { signal: abort.signal, cancelOnAbort: true });
    abort.abort(new Error("enough"));
    await expect(left).rejects.toThrow("enough");
    await expect(ended).rejects.toThrow("enough");
    await vi.waitFor(() => expect(server.cancelled).toStrictEqual([id]));
  });

  test("says soon that what it waits for is of another function", async () => {
    server.autoFinish = () => undefined;
    const names = { projectName: "p", functionName: "add", client };
    const id = await getDeployedFunction<typeof tasks.add>(names).start(1, 2);
    const stranger = getDeployedFunction<typeof tasks.count>({ ...names, functionName: "count" });
    await expect(stranger.awaitResult(id)).rejects.toMatchObject({ reason: "InvocationDoesNotExist" });
    const own = getDeployedFunction<typeof tasks.add>(names).awaitResult(id);
    await delay(1_200);
    server.succeed(id, 3);
    await expect(own).resolves.toBe(3);
  });

  test("callRemote cancels what it has started, if asked, also where it is just being started", async () => {
    server.autoFinish = () => undefined;
    const abort = new AbortController();
    const add = getDeployedFunction<typeof tasks.add>({ projectName: "p", functionName: "add", client });
    const ended = add.withOptions({ signal: abort.signal, cancelOnAbort: true });
    const calls = [ended.callRemote(1, 2), add.withOptions({ signal: abort.signal }).callRemote(3, 4)];
    await vi.waitFor(() => expect(server.watchRequests.flatMap((request) => request.add)).toHaveLength(2));
    calls.push(ended.callRemote(5, 6));
    abort.abort(new Error("enough"));
    for (const call of calls) await expect(call).rejects.toThrow("enough");
    await vi.waitFor(() => expect(server.cancelled).toHaveLength(2));
    await expect(ended.callRemote(7, 8)).rejects.toThrow("enough");
    expect(server.starts).toHaveLength(3);
  });

  test("cancels once, also where the answer is lost and it is asked for again", async () => {
    server.autoFinish = () => undefined;
    const add = getDeployedFunction<typeof tasks.add>({ projectName: "p", functionName: "add", client });
    const id = await add.start(1, 2);
    server.losesCancelAnswer = true;
    await add.cancel(id);
    expect(server.cancelled).toStrictEqual([id, id]);
    await expect(add.cancel(id)).rejects.toMatchObject({ reason: "InvocationIsAlreadyTerminated" });
  });

  test("lists what is of its version where it is of one", async () => {
    const names = { projectName: "p", functionName: "add", client };
    const version = (digit: string) => `ver-${digit.repeat(26)}`;
    const old = getDeployedFunction<typeof tasks.add>({ ...names, versionId: version("1") });
    const ids = [];
    for (const digit of ["1", "2"]) {
      ids.push(await getDeployedFunction<typeof tasks.add>({ ...names, versionId: version(digit) }).start(1, 2));
    }
    expect((await old.list()).invocationIds).toStrictEqual([ids[0]]);
    expect((await old.list({ versionId: version("2") })).invocationIds).toStrictEqual([ids[1]]);
    const any = getDeployedFunction<typeof tasks.add>(names);
    expect((await any.list()).invocationIds.toSorted()).toStrictEqual(ids.toSorted());
  });

  test("refuses input that is too large before it is sent, and bad names where they are written", async () => {
    const fn = getDeployedFunction<(text: string) => void>({ projectName: "p", functionName: "f", client });
    const tooLarge = fn.start("x".repeat(250_000));
    await expect(tooLarge).rejects.toThrow(FunctionInputSizeLimitExceeded);
    await expect(tooLarge).rejects.toMatchObject({ metadata: { size: "250004", limit: "250000" } });
    expect(server.batches).toStrictEqual([]);
    expect(() => getDeployedFunction({ projectName: "1", functionName: "a b" })).toThrow(/projectName.*functionName/);
  });

  test("refuses names that are no texts, such as of a variable that is not set", () => {
    const unset = { projectName: undefined as never, functionName: undefined as never, versionId: 5 as never };
    expect(() => getDeployedFunction(unset)).toThrow(
      /projectName: undefined must be .*functionName: undefined must be .*versionId: 5 must be/,
    );
  });

  test("looks for credentials at the first call, and shares its client", async () => {
    vi.stubEnv("MULTINODE_HOME", "/nonexistent");
    vi.stubEnv("MULTINODE_API_URL", "");
    vi.stubEnv("MULTINODE_API_KEY", "from-env");
    const one = getDeployedFunction<typeof tasks.add>({ projectName: "p", functionName: "add" });
    await expect(one.start(1, 2)).rejects.toThrow(CredentialsMissingError);
    vi.stubEnv("MULTINODE_API_URL", server.url);
    const two = getDeployedFunction<typeof tasks.add>({ projectName: "p", functionName: "count" });
    await Promise.all([one.start(1, 2), two.start(3, 4)]);
    expect(server.batches).toStrictEqual([2]);
    expect([...server.credentials]).toStrictEqual(["Bearer from-env"]);
  });
});

describe("inside a function", () => {
  function execution(signal: AbortSignal): RunningExecution {
    return {
      context: {
        projectName: "p",
        versionId: "ver-1",
        functionName: "addTwice",
        invocationId: "inv-parent",
        executionId: "exe-1",
        attemptNumber: 1,
        parentInvocationId: undefined,
        signal,
        logger: console,
      },
      apiUrl: server.url,
      maxPayloadBytes: 250_000,
      executionToken: "token-1",
    };
  }

  test("siblings are called with the token of the execution", async () => {
    const main = await import("./testing/tasks_main.js");
    discover(main);
    const run = runInContext(execution(new AbortController().signal), () => main.addTwice.handler(...([4] as never[])));
    await expect(run).resolves.toBe(16);
    expect([...server.credentials]).toStrictEqual(["Bearer token-1"]);
    expect(server.starts).toMatchObject([
      { projectName: "", versionId: "", functionName: "add", parentInvocationId: "" },
      { functionName: "add" },
    ]);
    await expect(runInContext(execution(new AbortController().signal), () => main.add.list())).resolves.toBeDefined();
  });

  test("an interruption rejects what is pending with its reason", async () => {
    const main = await import("./testing/tasks_main.js");
    discover(main);
    server.autoFinish = () => undefined;
    const interruption = new AbortController();
    const other = getDeployedFunction<typeof tasks.add>({ projectName: "p", functionName: "add", client });
    const id = await other.start(0, 0);
    const watching = runInContext(execution(interruption.signal), () => main.add.watch(id));
    await watching.next();
    const pending: Promise<unknown>[] = runInContext(execution(interruption.signal), () => [
      main.add.callRemote(1, 2),
      main.add
        .starmap([
          [1, 2],
          [3, 4],
        ])
        .next(),
      main.add.awaitResult(id),
      watching.next(),
      other.callRemote(1, 2),
    ]);
    const outcomes = Promise.allSettled(pending);
    await vi.waitFor(() => expect(server.starts.length).toBe(5));
    const reason = new InvocationCancelledError();
    interruption.abort(reason);
    expect(await outcomes).toStrictEqual(pending.map(() => ({ status: "rejected", reason })));
    const inside = <T>(call: () => T) => runInContext(execution(interruption.signal), call);
    const late: (() => Promise<unknown>)[] = [
      () => main.add.start(1, 2),
      () => other.awaitResult(id),
      () => main.add.starmap([[1, 2]]).next(),
    ];
    for (const call of late) await expect(inside(call)).rejects.toBe(reason);
    // It may clean up.
    expect(await inside(() => other.get(id))).toMatchObject({ id });
    expect((await inside(() => other.list())).invocationIds).toContain(id);
    await inside(() => other.cancel(id));
    expect(server.cancelled).toContain(id);
  });
});
