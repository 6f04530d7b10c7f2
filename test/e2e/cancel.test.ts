import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { eventually, LATE_MS, untilState, untilStatus, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { getContext, InvocationCancelledError, Multinode } from "multinode";
  import { setTimeout } from "node:timers/promises";
  import { holdLine, note, passGate, spawnHolders } from "./gate.js";
  export const mn = new Multinode();
  const grace = { gracePeriod: "500ms", maxRetries: 2 } as const;
  const longGrace = { ...grace, gracePeriod: "20s" } as const;
  export const quick = mn.function({ maxInvocationsPerWorker: Infinity }, () => "done");
  export const held = mn.function({ maxConcurrency: 1 }, async (gate: string, notes: string) => {
    await note(notes, getContext().invocationId);
    await passGate(gate);
  });
  export const heeds = mn.function({ ...longGrace, cpu: 1 }, () => setTimeout(20_000, undefined, { signal: getContext().signal }));
  export const returnsLate = mn.function(async (gate: string) => {
    const { signal } = getContext();
    await setTimeout(20_000, undefined, { signal }).catch(() => undefined);
    await passGate(gate);
    return "anyway";
  });
  export const ignores = mn.function({ ...grace, cpu: 1 }, async (line: string) => { await holdLine(line); await setTimeout(20_000); });
  export const spins = mn.function(grace, async (line: string) => { await holdLine(line); for (;;); });
  export const yielding = mn.function(longGrace, async function* (gate: string, notes: string) {
    yield "begun";
    try {
      for (;;) { await setTimeout(10); yield "on"; }
    } catch (error) {
      await note(notes, error instanceof InvocationCancelledError ? "cancelled" : String(error));
      await passGate(gate);
      yield "cleaned up";
      throw error;
    } finally {
      await note(notes, "finally");
    }
  });
  const waitsTwice = async (gate: string, notes: string, neighbour?: boolean) => {
    if (neighbour) { await passGate(gate); return "untouched"; }
    const { signal } = getContext();
    const [first, second, third] = [heeds.callRemote(), heeds.callRemote(), setTimeout(20_000, undefined, { signal })];
    await note(notes, "waits");
    try { await first; await second; await third; } finally {
      await note(notes, "cleans up");
      await passGate(gate);
      await note(notes, "has cleaned up");
    }
  };
  export const twoWaits = mn.function({ ...longGrace, cpu: 1 }, waitsTwice);
  export const shared = mn.function({ ...longGrace, cpu: 1, maxInvocationsPerWorker: 9, workerConcurrency: 9 }, waitsTwice);
  export const waitsForChild = mn.function({ cpu: 1 }, async (gate: string) => {
    const child = heeds.callRemote();
    await passGate(gate);
    return await child.catch((error) => error.name);
  });
  export const syncYielding = mn.function(longGrace, function* () {
    try { for (let i = 0; ; i += 1) yield i; } catch (error) { return "told " + error.name; }
  });
  export const reason = mn.function(longGrace, async function* (notes: string) {
    const { signal } = getContext();
    const noted = new Promise((resolve) => signal.addEventListener("abort", () =>
      resolve(note(notes, String(signal.reason instanceof InvocationCancelledError && signal.reason instanceof Error)))));
    yield signal.aborted;
    await setTimeout(20_000, undefined, { signal }).catch(() => noted);
    signal.throwIfAborted();
  });
  export const family = mn.function(grace, async (heeds: boolean, own: string, ...others: string[]) => {
    await holdLine(own);
    spawnHolders("children", ...others);
    await setTimeout(20_000, undefined, heeds ? { signal: getContext().signal } : {});
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

/** Starts a function and cancels it once it runs. */
async function cancelRunning(name: string, ...args: unknown[]) {
  const fn = project.fn(name);
  const id = await fn.start(...args);
  await untilStatus(fn, id, "RUNNING");
  await fn.cancel(id);
  return untilTerminated(fn, id);
}

describe.concurrent("cancel", () => {
  test("of a child ends no parent that is to wait for it later", async () => {
    const [fn, heeds] = [project.fn("waitsForChild"), project.fn("heeds")];
    const gate = gates.place();
    const id = await fn.start(gate);
    const children = async () => (await heeds.list({ parent: id })).invocationIds;
    const [child = ""] = await eventually(children, ({ length }) => length > 0);
    await heeds.cancel(child);
    await untilTerminated(heeds, child);
    gates.open(gate);
    expect(await fn.awaitResult(id)).toBe("InvocationCancelledError");
  });

  test.each(["twoWaits", "shared"])("leaves time to clean up where several things are waited for: %s", async (name) => {
    const fn = project.fn(name);
    const [gate, notes, neighboursGate] = [gates.place(), gates.place(), gates.place()];
    const noted = (text: string) =>
      eventually(
        () => gates.notes(notes),
        (all) => all.includes(text),
      );
    const id = await fn.start(gate, notes);
    await noted("waits");
    const neighbour = await fn.start(neighboursGate, notes, true);
    await untilStatus(fn, neighbour, "RUNNING");
    await fn.cancel(id);
    await noted("cleans up");
    gates.open(gate);
    const ended = await untilTerminated(fn, id);
    expect(ended).toMatchObject({ status: "CANCELLED", executions: [{ outcome: "ABORTED" }] });
    expect(gates.notes(notes)).toContain("has cleaned up");
    gates.open(neighboursGate);
    expect(await untilTerminated(fn, neighbour)).toMatchObject({ status: "SUCCEEDED", result: "untouched" });
  });

  test("a queued invocation is CANCELLED at once, and no worker is ever provisioned", async () => {
    const fn = project.fn("held");
    const [gate, notes] = [gates.place(), gates.place()];
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
    const gate = gates.place();
    const id = await fn.start(gate);
    await untilStatus(fn, id, "RUNNING");
    await fn.cancel(id);
    gates.open(gate);
    expect(await untilTerminated(fn, id)).toMatchObject({ status: "CANCELLED", result: "anyway" });
  });

  test.each(["ignores", "spins"])(
    "%s: code that ignores it is killed when the grace period ends, and is CANCELLED",
    async (name) => {
      const fn = project.fn(name);
      const line = gates.place();
      const id = await fn.start(line);
      await eventually(
        () => gates.holders(line),
        ({ now }) => now === 1,
      );
      await fn.cancel(id);
      await untilState(fn, id, ({ terminated }) => terminated);
      expect(await gates.holders(line)).toEqual({ now: 0, ever: 1 });
      const ended = await fn.get(id);
      expect(ended).toMatchObject({ status: "CANCELLED", numFailedAttempts: 1 });
      expect(ended.executions.map(({ outcome }) => outcome)).toEqual(["FAILED"]);
      const graceMs = Number(ended.finishedAt) - Number(ended.cancelRequestedAt);
      expect(graceMs).toBeGreaterThanOrEqual(500);
      expect(graceMs).toBeLessThan(500 + LATE_MS);
    },
  );

  test("may be repeated while it is cancelling; answers InvocationIsAlreadyTerminated when terminated", async () => {
    const fn = project.fn("returnsLate");
    const gate = gates.place();
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
    const notes = gates.place();
    const ended = await cancelRunning("reason", notes);
    expect(gates.notes(notes)).toEqual(["true"]);
    expect(ended).toMatchObject({ status: "CANCELLED", result: false });
  });

  test("is thrown into an async generator at its yield, which may clean up and yield on", async () => {
    const fn = project.fn("yielding");
    const [gate, notes] = [gates.place(), gates.place()];
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
    const ended = await cancelRunning("syncYielding");
    expect(ended).toMatchObject({ status: "CANCELLED", result: "told InvocationCancelledError" });
  });

  test.each([true, false])("the child processes of a function end with it, whether it heeds: %s", async (heeds) => {
    const fn = project.fn("family");
    const lines = [gates.place(), gates.place(), gates.place()];
    const holders = () => Promise.all(lines.map(async (line) => (await gates.holders(line)).now));
    const id = await fn.start(heeds, ...lines);
    await eventually(holders, (counts) => counts.every((count) => count === 1));
    await fn.cancel(id);
    await untilState(fn, id, ({ terminated }) => terminated);
    expect(await holders()).toEqual([0, 0, 0]);
  });
});
