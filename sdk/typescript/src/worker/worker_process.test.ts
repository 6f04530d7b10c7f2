/** How a worker process lives and dies, and what it prints. */

import { describe, expect, test } from "vitest";
import { LogStream } from "../../../../gen/multinode/invocation/v1/log_service.pb.js";
import { isAlive } from "../../../../test/harness/process_status.js";
import { EXAMPLE, useWorker } from "./testing/worker_fixture.js";

const fixture = useWorker();

describe("the supervisor", () => {
  test("beats, ships logs and stays connected while user code keeps the thread", async () => {
    fixture.scheduler.options = { statusIntervalMs: 50 };
    await fixture.begin("spin");
    await fixture.scheduler.until(() => fixture.scheduler.lines("e1").length > 0, "the line");
    const beats = fixture.scheduler.of("status").length;
    await fixture.scheduler.until(() => fixture.scheduler.of("status").length > beats + 5, "more beats");
    expect(fixture.scheduler.of("status").at(-1)?.executionIds).toEqual(["e1"]);
    expect(fixture.scheduler.of("status").at(-1)?.memoryBytes).toBeGreaterThan(10 * 1024 * 1024);
    fixture.scheduler.cancel("e1");
    await fixture.scheduler.until(() => fixture.scheduler.of("status").length > beats + 10, "still more beats");
    expect(fixture.scheduler.of("ended")).toEqual([]);
  });

  test("kills the whole group when the lifeline ends", async () => {
    await fixture.begin("grandchild");
    const pid = await fixture.scheduler.until(() => fixture.scheduler.yields("e1")[0]?.[1], "the grandchild");
    expect(isAlive(Number(pid))).toBe(true);
    fixture.worker.cutLifeline();
    expect(await fixture.worker.exited).toEqual({ code: null, signal: "SIGKILL" });
    await expect.poll(() => isAlive(Number(pid)), { timeout: 5_000, interval: 10 }).toBe(false);
  });

  test("kills the group when the lifeline ends while user code keeps the thread", async () => {
    await fixture.begin("spin");
    await fixture.scheduler.until(() => fixture.scheduler.lines("e1").length > 0, "the line");
    fixture.worker.cutLifeline();
    expect(await fixture.worker.exited).toEqual({ code: null, signal: "SIGKILL" });
  });

  test("says again what was not acknowledged after the connection broke", async () => {
    fixture.scheduler.options = { acknowledgesEnds: false };
    await fixture.begin("ticks");
    fixture.scheduler.bind("ticks", EXAMPLE.digest);
    fixture.scheduler.assign("e2", [1]);
    await fixture.scheduler.until(() => fixture.scheduler.yields("e2").length > 1, "values");
    fixture.scheduler.cancel("e1");
    await fixture.scheduler.ended("e1");
    fixture.scheduler.stop();
    fixture.scheduler.events.length = 0;
    await fixture.scheduler.start();
    await fixture.scheduler.ended("e1");
    expect(fixture.scheduler.of("hello")[0]?.executions).toEqual([
      { executionId: "e1", executionToken: "token-of-e1" },
      { executionId: "e2", executionToken: "token-of-e2" },
    ]);
    expect(fixture.scheduler.of("started").map(({ executionId }) => executionId)).toContain("e2");
    fixture.scheduler.send({ $case: "acknowledge", value: { executionIds: ["e1"] } });
    fixture.scheduler.cancel("e2");
    await fixture.scheduler.ended("e2");
    fixture.scheduler.stop();
    fixture.scheduler.events.length = 0;
    await fixture.scheduler.start();
    await fixture.scheduler.ended("e2");
    expect(fixture.scheduler.of("ended").map(({ executionId }) => executionId)).toEqual(["e2"]);
  });

  test("ends the worker when there is no scheduler for too long", async () => {
    fixture.scheduler.options = { fenceAfterMs: 300 };
    await fixture.scheduler.until(() => fixture.scheduler.of("status").length > 0, "the connection");
    fixture.scheduler.stop();
    expect(await fixture.worker.exited).toEqual({ code: null, signal: "SIGKILL" });
  });

  test("is not ended for its garbage, however much it has run", async () => {
    fixture.scheduler.bind("echo", EXAMPLE.digest, { memoryBytes: 192 * 1024 * 1024 });
    const text = "x".repeat(2_000);
    for (let round = 0; round < 60; round += 1) {
      for (let n = 0; n < 500; n += 1) fixture.scheduler.assign(`${round}-${n}`, [text]);
      await fixture.scheduler.ended(`${round}-499`);
      expect(fixture.scheduler.of("ended")).toHaveLength(500);
      for (const { result } of fixture.scheduler.of("ended")) expect(result?.$case).toBe("returned");
      fixture.scheduler.events.length = 0;
    }
  });

  test("ends what uses too much memory", async () => {
    fixture.scheduler.bind("hold", EXAMPLE.digest, { memoryBytes: 64 * 1024 * 1024 });
    fixture.scheduler.assign("e1", [300]);
    const { error } = await fixture.scheduler.outcome("e1");
    expect(error).toMatch(/^OutOfMemoryError: used \d+ MiB of 64 MiB$/);
    expect(await fixture.worker.exited).toEqual({ code: null, signal: "SIGKILL" });
  });
});

describe("logs", () => {
  test("belong to the execution that wrote them", async () => {
    fixture.scheduler.bind("print", EXAMPLE.digest);
    fixture.scheduler.assign("e1", ["a"]);
    fixture.scheduler.assign("e2", ["b"]);
    await fixture.scheduler.ended("e1");
    await fixture.scheduler.ended("e2");
    for (const [id, name] of [
      ["e1", "a"],
      ["e2", "b"],
    ] as const) {
      expect(
        fixture.scheduler.lines(id).map(({ lineNumber, stream, level, text }) => [lineNumber, stream, level, text]),
      ).toEqual([
        [1, LogStream.STDOUT, "", `out ${name}`],
        [2, LogStream.STDERR, "", `err ${name}`],
        [3, LogStream.LOGGER, "warn", `logged {"name":"${name}"}`],
        [4, LogStream.STDOUT, "", `partial ${name}`],
      ]);
      const own = fixture.scheduler.events.filter(
        ({ $case, value }) =>
          ($case === "logs" && value.lines.some(({ executionId }) => executionId === id)) ||
          ($case === "ended" && value.executionId === id),
      );
      expect(own.at(-1)?.$case).toBe("ended");
    }
    expect(fixture.worker.output()).toBe("");
  });

  test("are bounded", async () => {
    await fixture.run("printMuch");
    const lines = fixture.scheduler.lines("e1");
    expect(lines.length).toBe(10_000);
    expect(lines.at(-1)?.text).toMatch(/log cut/);
    expect(lines.map(({ lineNumber }) => lineNumber)).toEqual(Array.from({ length: 10_000 }, (_, index) => index + 1));
  });

  test("have lines of a bounded length", async () => {
    await fixture.run("printLong");
    expect(fixture.scheduler.lines("e1")[0]?.text.length).toBeLessThanOrEqual(16_384);
    expect(fixture.scheduler.lines("e1")[0]?.text).toMatch(/\[cut: \d+ characters\]$/);
  });
});

describe("a process that ends", () => {
  test.each([
    ["uncaught", "RangeError: from a timer"],
    ["rejection", "RangeError: nobody cared"],
  ])("with an error that nobody caught (%s) says so for what runs", async (functionName, error) => {
    expect(await fixture.run(functionName)).toEqual({ error, interrupted: false });
    expect(await fixture.worker.exited).toEqual({ code: 1, signal: null });
    expect(fixture.scheduler.lines("e1")[0]?.text).toBe(error);
  });

  test("says that it leaves before the ends of what it ran, and does not end what had not begun", async () => {
    fixture.scheduler.options = { acknowledgesEnds: false };
    fixture.scheduler.bind("uncaught", EXAMPLE.digest);
    fixture.scheduler.assign("e1");
    await fixture.scheduler.ended("e1");
    // Its main thread stands still, until its last words are acknowledged.
    fixture.scheduler.assign("e2");
    fixture.scheduler.send({ $case: "acknowledge", value: { executionIds: ["e1"] } });
    expect(await fixture.worker.exited).toEqual({ code: 1, signal: null });
    const said = fixture.scheduler.events.map(({ $case }) => $case);
    expect(said.indexOf("leaving")).toBeLessThan(said.indexOf("ended"));
    expect(said.filter((kind) => kind === "leaving" || kind === "ended")).toEqual(["leaving", "ended"]);
  });

  test("by process.exit says that it leaves, and what began a moment before", async () => {
    fixture.scheduler.bind("exit", EXAMPLE.digest);
    fixture.scheduler.assign("e1");
    expect(await fixture.worker.exited).toEqual({ code: 7, signal: null });
    await fixture.scheduler.until(() => fixture.scheduler.of("started").length > 0, "the start");
    expect(fixture.scheduler.of("leaving")).toHaveLength(1);
  });

  test("by process.exit still sends what was printed", async () => {
    await fixture.begin("exit");
    expect(await fixture.worker.exited).toEqual({ code: 7, signal: null });
    await fixture.scheduler.until(
      () => fixture.scheduler.lines("e1").some(({ text }) => text === "last words"),
      "the last words",
    );
    expect(fixture.scheduler.of("ended")).toEqual([]);
  });
});
