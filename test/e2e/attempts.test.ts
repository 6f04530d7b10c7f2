import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Execution } from "../../sdk/typescript/src/index.js";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { LATE_MS, untilState, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { getContext, Multinode, NonRetryableError } from "multinode";
  import { setTimeout } from "node:timers/promises";
  import { z } from "zod";
  import { holdLine } from "./gate.js";
  export const mn = new Multinode();
  const failUntil = (attempt: number) => {
    const { attemptNumber } = getContext();
    if (attemptNumber < attempt) throw new Error("attempt " + attemptNumber);
    return attemptNumber;
  };
  export const once = mn.function(failUntil);
  class NoSuchFile extends NonRetryableError {}
  export const final = mn.function({ maxRetries: 5, input: z.string().refine((how) => how !== "refused") }, (how) => {
    if (how === "mine") throw new NoSuchFile("a.png");
    throw how === "theirs" ? new NonRetryableError("never") : new Error("again");
  });
  export const retried = mn.function({ maxRetries: 2 }, failUntil);
  export const delayed = mn.function(
    { maxRetries: 3, retryDelay: { initial: "100ms", factor: 2, ceiling: "300ms", jitter: 0 }, maxInvocationsPerWorker: 9 },
    failUntil);
  export const jittered = mn.function(
    { maxRetries: 3, retryDelay: { initial: "200ms", factor: 1, jitter: 0.5 }, maxInvocationsPerWorker: 9 }, failUntil);
  export const patient = mn.function({ maxRetries: 1, retryDelay: "1h" }, failUntil);
  export const dies = mn.function({ maxRetries: 1 }, async function* (line: string) {
    await holdLine(line);
    yield "held";
    if (getContext().attemptNumber === 1) process.kill(process.pid, "SIGKILL");
    await setTimeout(getContext().attemptNumber === 1 ? 10_000 : 0);
  });
  export const exits = mn.function({ cpu: 1 }, () => process.exit(3));
  export const throwsLater = mn.function({ cpu: 1 }, async () => {
    globalThis.setTimeout(() => { throw new Error("nobody caught it"); }, 10);
    await setTimeout(10_000);
  });
  export const poisoned = mn.function({ cpu: 1, memory: "64 MiB", maxInvocationsPerWorker: Infinity, maxConcurrency: 4 }, async (how: string) => {
    if (how === "throw") globalThis.setTimeout(() => { throw new Error("nobody caught it"); }, 5);
    if (how === "reject") void Promise.reject(new Error("nobody caught it"));
    const kept: Buffer[] = [];
    while (how !== "well") {
      await setTimeout(20);
      if (how === "hoard") kept.push(Buffer.alloc(16 * 2 ** 20, 1));
    }
    return how;
  });
  export const greedy = mn.function({ cpu: 1, memory: "64 MiB" }, async (mib: number) => {
    const kept: Buffer[] = [];
    for (let i = 0; i < mib; i += 8) {
      kept.push(Buffer.alloc(8 * 2 ** 20, i + 1));
      await setTimeout(20);
    }
    await setTimeout(500);
    return kept.length;
  });
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

const outcomes = (executions: readonly Execution[]) =>
  executions.map(({ attemptNumber, outcome }) => [attemptNumber, outcome]);

/** Milliseconds from the end of each execution to the making of the next. */
function waitsOf(executions: readonly Execution[]): number[] {
  return executions.slice(1).map(({ createdAt }, i) => createdAt.getTime() - Number(executions[i]?.finishedAt));
}

describe.concurrent("attempts", () => {
  test("without retries the first failure is the last", async () => {
    const fn = project.fn("once");
    const ended = await untilTerminated(fn, await fn.start(2));
    expect(ended).toMatchObject({ status: "FAILED", error: "Error: attempt 1", numFailedAttempts: 1 });
    expect(outcomes(ended.executions)).toEqual([[1, "FAILED"]]);
  });

  test("a failed attempt is retried, and numFailedAttempts counts the failures", async () => {
    const fn = project.fn("retried");
    const ended = await untilTerminated(fn, await fn.start(3));
    expect(ended).toMatchObject({ status: "SUCCEEDED", result: 3, numFailedAttempts: 2 });
    expect(outcomes(ended.executions)).toEqual([
      [1, "FAILED"],
      [2, "FAILED"],
      [3, "SUCCEEDED"],
    ]);
    expect(ended.executions.map(({ error }) => error)).toEqual(["Error: attempt 1", "Error: attempt 2", undefined]);
  });

  test("there are at most maxRetries + 1 executions", async () => {
    const fn = project.fn("retried");
    const ended = await untilTerminated(fn, await fn.start(99));
    expect(ended).toMatchObject({ status: "FAILED", error: "Error: attempt 3", numFailedAttempts: 3 });
    expect(ended.executions).toHaveLength(3);
  });

  test.each([
    ["theirs", "NonRetryableError: never"],
    ["mine", "NoSuchFile: a.png"],
    ["refused", /^FunctionInputIsInvalid: /],
  ])("there is no further one where that would not change it (%s)", async (how, error) => {
    const fn = project.fn("final");
    const ended = await untilTerminated(fn, await fn.start(how));
    expect(ended).toMatchObject({ status: "FAILED", numFailedAttempts: 1 });
    expect(ended.error).toMatch(error);
    expect(ended.executions).toHaveLength(1);
  });

  test("between two attempts it is PENDING, and error shows the last failure", async () => {
    const fn = project.fn("patient");
    const id = await fn.start(2);
    const waiting = await untilState(fn, id, ({ numFailedAttempts }) => numFailedAttempts === 1);
    expect(waiting).toMatchObject({ status: "PENDING", error: "Error: attempt 1", finishedAt: undefined });
    await fn.cancel(id);
    const ended = await untilTerminated(fn, id);
    expect(ended).toMatchObject({ status: "CANCELLED", numFailedAttempts: 1, error: "Error: attempt 1" });
    expect(ended.executions).toHaveLength(1);
  });

  test("the delay grows by its factor up to its ceiling", async () => {
    const fn = project.fn("delayed");
    const { executions, status } = await untilTerminated(fn, await fn.start(4));
    expect(status).toBe("SUCCEEDED");
    const waits = waitsOf(executions);
    for (const [i, atLeast] of [100, 200, 300].entries()) {
      expect(waits[i]).toBeGreaterThanOrEqual(atLeast);
      expect(waits[i]).toBeLessThan(atLeast + LATE_MS);
    }
  });

  test("jitter makes a delay shorter by up to its share", async () => {
    const fn = project.fn("jittered");
    const { executions } = await untilTerminated(fn, await fn.start(4));
    for (const wait of waitsOf(executions)) {
      expect(wait).toBeGreaterThanOrEqual(100);
      expect(wait).toBeLessThan(200 + LATE_MS);
    }
  });

  test("without a delay the next attempt comes at once", async () => {
    const fn = project.fn("retried");
    const { executions } = await untilTerminated(fn, await fn.start(3));
    for (const wait of waitsOf(executions)) expect(wait).toBeLessThan(LATE_MS);
  });

  test("a lost worker is a failed attempt, and is retried", async () => {
    const fn = project.fn("dies");
    const ended = await untilTerminated(fn, await fn.start(gates.place()));
    expect(ended).toMatchObject({ status: "SUCCEEDED", numFailedAttempts: 1 });
    expect(outcomes(ended.executions)).toEqual([
      [1, "FAILED"],
      [2, "SUCCEEDED"],
    ]);
    const [first, second] = ended.executions;
    expect(first?.error).toMatch(/^\w+: /);
    expect(first?.workerId).not.toBe(second?.workerId);
  });

  test("a function that ends its process fails, and the error says so", async () => {
    const fn = project.fn("exits");
    const ended = await untilTerminated(fn, await fn.start());
    expect(ended.status).toBe("FAILED");
    expect(ended.error).toMatch(/^\w+: .*(exit|ended).*3/);
  });

  test("an error that nobody caught fails the execution", async () => {
    const fn = project.fn("throwsLater");
    const ended = await untilTerminated(fn, await fn.start());
    expect(ended).toMatchObject({ status: "FAILED", error: "Error: nobody caught it" });
  });

  test.each([
    ["throw", "nobody caught it"],
    ["reject", "nobody caught it"],
    ["hoard", "OutOfMemoryError"],
  ])("a used worker that dies (%s) fails nothing that had not begun", async (how, error) => {
    const fn = project.fn("poisoned");
    for (let round = 0; round < 3; round += 1) {
      await expect(fn.callRemote(how)).rejects.toThrow(error);
      expect(await fn.callRemote("well")).toBe("well");
    }
    const inputs = Array.from({ length: 60 }, (_, n) => (n % 20 === 7 ? how : "well"));
    const results: unknown[] = [];
    for await (const result of fn.map(inputs, { errors: "return" }))
      results.push(result instanceof Error ? how : result);
    expect(results).toEqual(inputs);
  });

  test("an execution above its memory limit is killed, and its error names OutOfMemory", async () => {
    const fn = project.fn("greedy");
    const ended = await untilTerminated(fn, await fn.start(400));
    expect(ended.status).toBe("FAILED");
    expect(ended.error).toMatch(/^OutOfMemory.*64 MiB/);
    expect(await fn.callRemote(16)).toBe(2);
  });

  test("a killed process is gone", async () => {
    const fn = project.fn("dies");
    const line = gates.place();
    await untilState(fn, await fn.start(line), ({ terminated }) => terminated);
    expect(await gates.holders(line)).toEqual({ now: 0, ever: 2 });
  });
});
