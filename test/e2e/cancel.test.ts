import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GATE_SOURCE, GateFolder } from "../harness/gate.js";
import { isAlive, untilState, untilStatus, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { spawn } from "node:child_process";
  import { getContext, InvocationCancelledError, Multinode } from "multinode";
  import { setTimeout } from "node:timers/promises";
  import { note, passGate } from "./gate.js";
  export const mn = new Multinode();
  const grace = { gracePeriod: "500ms", maxRetries: 2 } as const;
  export const quick = mn.function({ maxInvocationsPerWorker: Infinity }, () => "done");
  export const held = mn.function({ maxConcurrency: 1 }, async (gate: string, notes: string) => {
    note(notes, getContext().invocationId);
    await passGate(gate);
  });
  export const heeds = mn.function(grace, () => setTimeout(20_000, undefined, { signal: getContext().signal }));
  export const returnsLate = mn.function(async (gate: string) => {
    const { signal } = getContext();
    await setTimeout(20_000, undefined, { signal }).catch(() => undefined);
    await passGate(gate);
    return "anyway";
  });
  export const ignores = mn.function(grace, () => setTimeout(20_000));
  export const spins = mn.function(grace, function* () { yield process.pid; for (;;); });
  export const yielding = mn.function({ gracePeriod: "20s" }, async function* (gate: string, notes: string) {
    yield "begun";
    try {
      for (;;) { await setTimeout(10); yield "on"; }
    } catch (error) {
      note(notes, error instanceof InvocationCancelledError ? "cancelled" : String(error));
      await passGate(gate);
      yield "cleaned up";
      throw error;
    } finally {
      note(notes, "finally");
    }
  });
  export const syncYielding = mn.function(grace, function* (notes: string) {
    try { for (let i = 0; ; i += 1) yield i; } catch (error) { note(notes, error.name); return "told"; }
  });
  export const reason = mn.function(grace, async function* (notes: string) {
    const { signal } = getContext();
    signal.addEventListener("abort", () =>
      note(notes, String(signal.reason instanceof InvocationCancelledError && signal.reason instanceof Error)));
    yield signal.aborted;
    await setTimeout(20_000, undefined, { signal });
  });
  export const family = mn.function(grace, async function* (heeds: boolean) {
    const child = spawn("sh", ["-c", "sleep 1000 & echo $!; wait"], { stdio: ["ignore", "pipe", "ignore"] });
    const grandchild = await new Promise<number>((resolve) => child.stdout.once("data", (data) => resolve(Number(data))));
    yield [process.pid, child.pid, grandchild];
    await setTimeout(20_000, undefined, heeds ? { signal: getContext().signal } : {});
  });
`;

let target: Target;
let project: DeployedProject;
const gates = new GateFolder();
beforeAll(async () => {
  target = openTarget();
  project = await target.deploy({ "main.ts": MAIN, "gate.ts": GATE_SOURCE });
});
afterAll(async () => {
  gates.remove();
  await target.close();
});

/** Starts a function and cancels it once it runs, or, of a generator, once it has yielded. */
async function cancelRunning(name: string, ...args: unknown[]) {
  const fn = project.fn(name);
  const id = await fn.start(...args);
  await untilStatus(fn, id, "RUNNING");
  await fn.cancel(id);
  return untilTerminated(fn, id);
}

describe.concurrent("cancel", () => {
  test("a queued invocation is CANCELLED at once, and no worker is ever provisioned", async () => {
    const fn = project.fn("held");
    const [gate, notes] = [gates.path(), gates.path()];
    const blocking = await fn.start(gate, notes);
    await untilStatus(fn, blocking, "RUNNING");
    const id = await fn.start(gate, notes);
    await fn.cancel(id);
    expect(await fn.get(id)).toMatchObject({
      status: "CANCELLED",
      terminated: true,
      executions: [],
      startedAt: undefined,
    });
    await expect(fn.awaitResult(id)).rejects.toMatchObject({ reason: "InvocationCancelledError" });
    gates.open(gate);
    await untilTerminated(fn, blocking);
    expect(gates.notes(notes)).toEqual([blocking]);
  });

  test("a running one that heeds its signal is ABORTED and CANCELLED, and is not retried", async () => {
    const ended = await cancelRunning("heeds");
    expect(ended).toMatchObject({ status: "CANCELLED", numFailedAttempts: 0, error: undefined });
    expect(ended.executions.map(({ outcome }) => outcome)).toEqual(["ABORTED"]);
  });

  test("one that ends by itself within the grace period keeps what it returned, and is CANCELLED", async () => {
    const fn = project.fn("returnsLate");
    const gate = gates.path();
    const id = await fn.start(gate);
    await untilStatus(fn, id, "RUNNING");
    await fn.cancel(id);
    gates.open(gate);
    expect(await untilTerminated(fn, id)).toMatchObject({ status: "CANCELLED", result: "anyway" });
  });

  test.each(["ignores", "spins"])(
    "%s: code that ignores it is killed when the grace period ends, and is CANCELLED",
    async (name) => {
      const ended = await cancelRunning(name);
      expect(ended).toMatchObject({ status: "CANCELLED", numFailedAttempts: 1 });
      expect(ended.executions.map(({ outcome }) => outcome)).toEqual(["FAILED"]);
      const graceMs = Number(ended.finishedAt) - Number(ended.cancelRequestedAt);
      expect(graceMs).toBeGreaterThanOrEqual(500);
      expect(graceMs).toBeLessThan(4_000);
      // Where it told its process id, that process is gone.
      expect(ended.result === undefined || isAlive(Number(ended.result))).toBe(name === "ignores");
    },
  );

  test("may be repeated while it is cancelling; answers InvocationIsAlreadyTerminated when terminated", async () => {
    const fn = project.fn("returnsLate");
    const gate = gates.path();
    const id = await fn.start(gate);
    await untilStatus(fn, id, "RUNNING");
    await fn.cancel(id);
    const { cancelRequestedAt } = await fn.get(id);
    await fn.cancel(id);
    await fn.cancel(id);
    expect(await fn.get(id)).toMatchObject({ status: "CANCELLING", cancelRequestedAt });
    gates.open(gate);
    await untilTerminated(fn, id);
    await expect(fn.cancel(id)).rejects.toMatchObject({ reason: "InvocationIsAlreadyTerminated", code: 9 });
  });

  test("a success that was recorded before stands", async () => {
    const fn = project.fn("quick");
    const ids = await Promise.all(Array.from({ length: 12 }, () => fn.start()));
    const cancels = await Promise.all(
      ids.map(async (id, index) => {
        if (index % 2 === 0) await untilStatus(fn, id, "SUCCEEDED");
        return fn.cancel(id).then(
          () => undefined,
          (error: { reason: string }) => error.reason,
        );
      }),
    );
    const ended = await Promise.all(ids.map((id) => untilTerminated(fn, id)));
    const whole = ended.map(({ status, result }) => `${status} ${String(result)}`);
    // Whichever came first, the status and the result agree.
    for (const [index, end] of whole.entries()) {
      expect(end).toBeOneOf(
        index % 2 === 0 ? ["SUCCEEDED done"] : ["SUCCEEDED done", "CANCELLED undefined", "CANCELLED done"],
      );
      expect(cancels[index]).toBeOneOf([undefined, "InvocationIsAlreadyTerminated"]);
    }
  });
});

describe.concurrent("interruption", () => {
  test("aborts the context's signal with an InvocationCancelledError as its reason", async () => {
    const notes = gates.path();
    const ended = await cancelRunning("reason", notes);
    expect(gates.notes(notes)).toEqual(["true"]);
    expect(ended).toMatchObject({ status: "CANCELLED", result: false });
  });

  test("is thrown into an async generator at its yield, which may clean up and yield on", async () => {
    const fn = project.fn("yielding");
    const [gate, notes] = [gates.path(), gates.path()];
    const id = await fn.start(gate, notes);
    await untilState(fn, id, ({ result }) => result === "on");
    await fn.cancel(id);
    await untilState(fn, id, ({ status }) => status === "CANCELLING");
    gates.open(gate);
    const ended = await untilTerminated(fn, id);
    expect(ended).toMatchObject({ status: "CANCELLED", result: "cleaned up" });
    expect(ended.executions[0]?.outcome).toBe("ABORTED");
    expect(gates.notes(notes)).toEqual(["cancelled", "finally"]);
  });

  test("is thrown into a sync generator that never waits", async () => {
    const notes = gates.path();
    const ended = await cancelRunning("syncYielding", notes);
    expect(ended).toMatchObject({ status: "CANCELLED", result: "told" });
    expect(gates.notes(notes)).toEqual(["InvocationCancelledError"]);
  });

  test.each([true, false])("the child processes of a function end with it, whether it heeds: %s", async (heeds) => {
    const fn = project.fn<(heeds: boolean) => number[]>("family");
    const id = await fn.start(heeds);
    const { result = [] } = await untilState(fn, id, (state) => state.result !== undefined);
    expect(result.map(isAlive)).toEqual([true, true, true]);
    await fn.cancel(id);
    await untilTerminated(fn, id);
    expect(result.map(isAlive)).toEqual([false, false, false]);
  });
});
