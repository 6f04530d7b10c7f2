/** What functions see and what comes of them, in a worker process. */

import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { LogStream } from "../../../../gen/multinode/invocation/v1/log_service.pb.js";
import { EXAMPLE, useWorker } from "./testing/worker_fixture.js";

const fixture = useWorker();

describe("a function", () => {
  test("returns its result", async () => {
    expect(await fixture.run("add", [1, 2])).toEqual({ value: 3, interrupted: false });
    expect(fixture.scheduler.of("hello")).toMatchObject([{ workerId: "wrk-test", protocolVersion: 1, executions: [] }]);
    // That it began is said with its end, or before that where it takes longer.
    const told = [
      ...fixture.scheduler.of("started"),
      ...fixture.scheduler.of("ended").filter(({ started }) => started),
    ];
    expect(told).toMatchObject([{ executionId: "e1" }]);
    expect(fixture.scheduler.authorizations).toContain("Bearer worker-token");
    expect(new Set(fixture.scheduler.authorizations).size).toBe(1);
  });

  test("is given named arguments as one object at the end", async () => {
    expect(await fixture.run("echo", [1n, new Date(5)], { x: 1 })).toEqual({
      value: [1n, new Date(5), { x: 1 }],
      interrupted: false,
    });
  });

  test("that returns nothing has no value", async () => {
    expect(await fixture.run("nothing")).toEqual({ interrupted: false });
  });

  test("knows its context, and finds no credential in it", async () => {
    expect(await fixture.run("context")).toEqual({
      value: {
        projectName: "project",
        versionId: "ver-1",
        functionName: "context",
        invocationId: "inv-of-e1",
        executionId: "e1",
        attemptNumber: 1,
        parentInvocationId: "inv-parent",
      },
      interrupted: false,
    });
  });

  test("sees the environment of its version and nothing of the worker's", async () => {
    fixture.scheduler.bind("environment", EXAMPLE.digest, {}, { GREETING: "hello" });
    fixture.scheduler.assign("e1");
    const { value } = (await fixture.scheduler.outcome("e1")) as {
      value: { env: Record<string, string>; cwd: string; main: string };
    };
    expect(value.env).toEqual({ PATH: process.env["PATH"], HOME: tmpdir(), GREETING: "hello" });
    expect(value.cwd).toBe(join(fixture.cacheDir, EXAMPLE.digest));
    expect(value.main).toBe(join(fixture.cacheDir, EXAMPLE.digest, "main.mjs"));
  });

  test("that throws ends with the class and the message, and its stack is logged", async () => {
    expect(await fixture.run("fail")).toEqual({ error: "TypeError: no such thing", interrupted: false });
    const stack = fixture.scheduler.lines("e1").filter(({ stream }) => stream === LogStream.SYSTEM);
    expect(stack[0]?.text).toBe("TypeError: no such thing");
    expect(stack.some(({ text }) => text.includes("main.mjs"))).toBe(true);
  });

  test("whose result is too large fails with the size and the limit", async () => {
    expect(await fixture.run("large", [300_000])).toMatchObject({
      error: expect.stringMatching(/result is 300002 bytes.*limit is 250000 bytes/),
    });
  });

  test("whose result cannot be sent fails with the place", async () => {
    expect(await fixture.run("unsupported")).toMatchObject({ error: expect.stringContaining("$.a[0]") });
  });

  test("that does not exist fails", async () => {
    expect(await fixture.run("missing")).toMatchObject({
      error: 'DefinitionError: the code of this version has no function "missing"',
    });
  });

  test("runs side by side with others in one worker", async () => {
    fixture.scheduler.bind("echo", EXAMPLE.digest);
    for (let index = 0; index < 500; index += 1) fixture.scheduler.assign(`e${index}`, [index]);
    for (let index = 0; index < 500; index += 1) {
      expect((await fixture.scheduler.outcome(`e${index}`)).value).toEqual([index]);
    }
  });
});

describe("a generator", () => {
  test("yields, and its returned value is the result", async () => {
    expect(await fixture.run("steps")).toEqual({ value: "result", interrupted: false });
    expect(fixture.scheduler.yields("e1").at(-1)).toEqual([2, "two"]);
  });

  test("sends its last value before its end, also where values were merged", async () => {
    fixture.scheduler.options = { acknowledgesYields: false };
    expect(await fixture.run("count", [1_000])).toEqual({ interrupted: false });
    expect(fixture.scheduler.yields("e1")).toEqual([
      [1, 1],
      [1_000, 1_000],
    ]);
  });

  test("sends the newest value when the one before it is acknowledged", async () => {
    fixture.scheduler.options = { acknowledgesYields: false };
    await fixture.begin("ticks");
    await fixture.scheduler.until(() => fixture.scheduler.of("yielded").length > 0, "a value");
    await fixture.scheduler.until(() => fixture.scheduler.of("status").length > 1, "some time");
    expect(fixture.scheduler.yields("e1")).toEqual([[1, 1]]);
    fixture.scheduler.send({ $case: "acknowledgeYielded", value: { executionIds: ["e1"] } });
    await fixture.scheduler.until(() => fixture.scheduler.of("yielded").length > 1, "the next value");
    expect(fixture.scheduler.yields("e1")[1]?.[0]).toBeGreaterThan(2);
  });

  test("that yields too large a value fails", async () => {
    expect(await fixture.run("yieldLarge")).toMatchObject({
      error: expect.stringMatching(/yield number 2 is 300002 bytes/),
    });
    expect(fixture.scheduler.yields("e1")).toEqual([[1, "ok"]]);
  });

  test("shows a value even if the code after it never gives the thread back", async () => {
    await fixture.begin("yieldThenSpin");
    await fixture.scheduler.until(() => fixture.scheduler.of("yielded").length > 0, "the value");
    expect(fixture.scheduler.yields("e1")).toEqual([[1, 1]]);
  });
});

describe("an interruption", () => {
  test("aborts the signal", async () => {
    await fixture.begin("waitForSignal");
    await fixture.scheduler.until(() => fixture.scheduler.lines("e1").length > 0, "the line");
    fixture.scheduler.cancel("e1");
    expect(await fixture.scheduler.outcome("e1")).toEqual({
      error: "InvocationCancelledError: the invocation was cancelled",
      interrupted: true,
    });
  });

  test("lets the function end by itself", async () => {
    await fixture.begin("cleanUp");
    await fixture.scheduler.until(() => fixture.scheduler.lines("e1").length > 0, "the line");
    fixture.scheduler.cancel("e1");
    expect(await fixture.scheduler.outcome("e1")).toEqual({ value: "cleaned up", interrupted: true });
  });

  test("is thrown into a generator at its yield", async () => {
    await fixture.begin("ticks");
    await fixture.scheduler.until(() => fixture.scheduler.of("yielded").length > 2, "some values");
    fixture.scheduler.cancel("e1");
    expect(await fixture.scheduler.outcome("e1")).toEqual({ value: "ended", interrupted: true });
    expect(fixture.scheduler.yields("e1").at(-1)?.[1]).toBe("caught InvocationCancelledError");
  });

  test("reaches a generator that never waits", async () => {
    await fixture.begin("hotTicks");
    await fixture.scheduler.until(() => fixture.scheduler.of("yielded").length > 2, "some values");
    fixture.scheduler.cancel("e1");
    expect(await fixture.scheduler.outcome("e1")).toMatchObject({
      interrupted: true,
      error: expect.stringMatching(/^InvocationCancelledError/),
    });
    expect(fixture.scheduler.lines("e1").map(({ text }) => text)).toEqual(["finally"]);
  });

  test("ends what has not begun at once, while another execution has the thread", async () => {
    await fixture.begin("spin");
    fixture.scheduler.assign("e2");
    fixture.scheduler.cancel("e2");
    expect(await fixture.scheduler.outcome("e2")).toMatchObject({ interrupted: true });
    expect(fixture.scheduler.of("started").map(({ executionId }) => executionId)).toEqual(["e1"]);
  });

  test("before the code is there ends the execution without running it", async () => {
    fixture.scheduler.assign("e1");
    fixture.scheduler.cancel("e1");
    expect(await fixture.scheduler.outcome("e1")).toEqual({
      error: "InvocationCancelledError: the invocation was cancelled",
      interrupted: true,
    });
    expect(fixture.scheduler.of("started")).toEqual([]);
  });
});
