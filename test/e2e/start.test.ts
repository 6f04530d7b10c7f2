import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { untilStatus, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { getContext, Multinode } from "multinode";
  import { note, passGate } from "./gate.js";
  export const mn = new Multinode();
  export const dies = mn.function({ maxRetries: 3, retryDelay: "6s" }, () => {
    if (getContext().attemptNumber < 2) process.kill(process.pid, "SIGKILL");
    return getContext().attemptNumber;
  });
  export const echo = mn.function({ maxInvocationsPerWorker: Infinity }, (value: unknown) => value);
  export const other = mn.function({ maxInvocationsPerWorker: Infinity }, (value: unknown) => value);
  export const held = mn.function({ maxConcurrency: 1, gracePeriod: 0 }, async (gate: string, notes: string) => {
    await note(notes, getContext().invocationId);
    await passGate(gate);
    return "passed";
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

describe.concurrent("start", () => {
  test("answers the id of an invocation that is stored", async () => {
    const fn = project.fn("echo");
    const id = await fn.start("x");
    expect(await fn.get(id)).toMatchObject({ id, functionName: "echo", parentInvocationId: undefined });
  });

  test("many at once are different invocations", async () => {
    const fn = project.fn("echo");
    const ids = await Promise.all(Array.from({ length: 20 }, (_, i) => fn.start(i)));
    expect(new Set(ids).size).toBe(20);
    const results = await Promise.all(ids.map((id) => fn.awaitResult(id)));
    expect(results).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  test("a signal that has aborted starts nothing", async () => {
    const signal = AbortSignal.abort(new Error("not any more"));
    const { projectName, versionId } = await target.deploy({ "main.ts": MAIN, "gate.ts": GATE_SOURCE });
    const fn = target.fn(projectName, "echo", versionId);
    await expect(fn.withOptions({ signal }).start(1)).rejects.toThrow("not any more");
    expect((await fn.list()).invocationIds).toEqual([]);
  });
});

describe.concurrent("idempotency key", () => {
  test("a repeated start answers the first invocation's id", async () => {
    const fn = project.fn("echo").withOptions({ idempotencyKey: crypto.randomUUID() });
    const first = await fn.start({ a: 1 });
    expect(await fn.start({ a: 1 })).toBe(first);
    await untilTerminated(fn, first);
    expect(await fn.start({ a: 1 })).toBe(first);
    expect((await fn.get(first)).executions).toHaveLength(1);
  });

  test("starts at the same moment answer one invocation", async () => {
    const fn = project.fn("echo").withOptions({ idempotencyKey: crypto.randomUUID() });
    const ids = await Promise.all(Array.from({ length: 5 }, () => fn.start("same")));
    expect(new Set(ids).size).toBe(1);
  });

  test("the same key with other arguments, or of another function, is refused, and nothing starts", async () => {
    const idempotencyKey = crypto.randomUUID();
    const fn = project.fn("echo").withOptions({ idempotencyKey });
    const createdFrom = new Date();
    const first = await fn.start("a");
    await expect(fn.start("b")).rejects.toMatchObject({ reason: "IdempotencyKeyReused", code: 6 });
    const other = project.fn("other").withOptions({ idempotencyKey });
    await expect(other.start("a")).rejects.toMatchObject({ reason: "IdempotencyKeyReused" });
    expect((await other.list({ createdFrom })).invocationIds).toEqual([]);
    expect(await fn.start("a")).toBe(first);
  });

  test("another key or none starts another invocation", async () => {
    const fn = project.fn("echo");
    const keyed = () => fn.withOptions({ idempotencyKey: crypto.randomUUID() }).start("a");
    const ids = [await keyed(), await keyed(), await fn.start("a"), await fn.start("a")];
    expect(new Set(ids).size).toBe(4);
  });

  test.each(["", "x".repeat(129)])("a key of a wrong length is refused: %s", (idempotencyKey) => {
    expect(() => project.fn("echo").withOptions({ idempotencyKey })).toThrow(/idempotencyKey/);
  });
});

describe("ttl", () => {
  test("what has not begun by then is TIMED_OUT, and no worker is provisioned", async () => {
    const fn = project.fn("held");
    const [gate, notes] = [gates.place(), gates.place()];
    const blocking = await fn.start(gate, notes);
    await untilStatus(fn, blocking, "RUNNING");
    const id = await fn.withOptions({ ttl: "200ms" }).start(gate, notes);
    const ended = await untilTerminated(fn, id);
    expect(ended).toMatchObject({ status: "TIMED_OUT", executions: [], numFailedAttempts: 0, startedAt: undefined });
    expect(Number(ended.finishedAt) - Number(ended.createdAt)).toBeGreaterThanOrEqual(200);
    expect(Number(ended.expiresAt) - Number(ended.createdAt)).toBe(200);
    await expect(fn.awaitResult(id)).rejects.toMatchObject({ reason: "InvocationTimedOutError" });
    gates.open(gate);
    await fn.awaitResult(blocking);
    expect(gates.notes(notes)).toEqual([blocking]);
  });

  test("what has begun by then runs on", async () => {
    const fn = project.fn("held").withOptions({ ttl: "10s" });
    const [gate, notes] = [gates.place(), gates.place()];
    const id = await fn.start(gate, notes);
    const { expiresAt } = await untilStatus(fn, id, "RUNNING");
    expect(expiresAt).toBeInstanceOf(Date);
    gates.open(gate);
    expect(await fn.awaitResult(id)).toBe("passed");
  });

  test("does not end a retry of what has begun, also where its worker died at once", async () => {
    const fn = project.fn("dies").withOptions({ ttl: "5s" });
    const ended = await untilTerminated(fn, await fn.start());
    expect(ended).toMatchObject({ status: "SUCCEEDED", result: 2, startedAt: expect.any(Date), numFailedAttempts: 1 });
  });
});
