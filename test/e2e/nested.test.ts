import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { eventually, untilState, untilStatus, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { getContext, InvocationCancelledError, Multinode } from "multinode";
  import { setTimeout } from "node:timers/promises";
  import { note, passGate } from "./gate.js";
  export const mn = new Multinode();
  const warm = { maxInvocationsPerWorker: Infinity, workerConcurrency: 8, gracePeriod: "2s" } as const;

  export const square = mn.function(warm, (x: number) => x * x);
  export const which = mn.function(warm, () => VERSION);
  export const sumOfSquares = mn.function(warm, async (bound: number) => {
    let sum = 0;
    for await (const result of square.map(Array.from({ length: bound }, (_, i) => i))) sum += result;
    return sum;
  });
  export const everyMethod = mn.function(warm, async () => {
    const id = await square.start(3);
    const states = [];
    for await (const { status } of square.watch(id, { until: "terminated" })) states.push(status);
    const { result, parentInvocationId } = await square.get(id);
    const starmapped = [];
    for await (const value of square.starmap([[4], [5]])) starmapped.push(value);
    const cancelled = await square.cancel(id).catch((error) => error.reason);
    return {
      awaited: await square.awaitResult(id), called: await square.callRemote(2), starmapped, cancelled, result,
      isMine: parentInvocationId === getContext().invocationId, last: states.at(-1), local: await square.callLocal(6),
    };
  });
  export const child = mn.function(warm, async function* (gate: string) {
    yield "running";
    await passGate(gate, getContext().signal);
    return "child done";
  });
  export const stubborn = mn.function(warm, async (gate: string) => {
    await passGate(gate);
  });
  export const twins = mn.function(warm, async function* (gate: string) {
    yield [await child.start(gate), await child.start(gate)];
    await passGate(gate, getContext().signal);
  });
  export const inVersion = mn.function(warm, async (gate: string) => {
    await passGate(gate);
    return [VERSION, await which.callRemote()];
  });
  export const tree = mn.function({ ...warm, maxConcurrency: 50 }, async function* (depth: number, gate: string) {
    const ids = depth === 0 ? [] : [await tree.start(depth - 1, gate), await tree.start(depth - 1, gate)];
    yield ids;
    await passGate(gate, getContext().signal);
  });
  const startChild = async function* (gate: string, end: string) {
    yield await child.start(gate);
    if (end === "fails") throw new Error("parent");
    if (end === "times out") await setTimeout(20_000, undefined, { signal: getContext().signal });
  };
  export const parent = mn.function(warm, startChild);
  export const shortLivedParent = mn.function({ ...warm, timeout: "5s" }, startChild);
  export const pending = mn.function({ ...warm, gracePeriod: "5s" }, async function* (method: string, gate: string, notes: string) {
    const id = await stubborn.start(gate);
    yield id;
    try {
      if (method === "awaitResult") await stubborn.awaitResult(id);
      if (method === "callRemote") await stubborn.callRemote(gate);
      if (method === "map") for await (const _ of stubborn.map([gate])) ;
      if (method === "watch") for await (const _ of stubborn.watch(id)) ;
    } catch (error) {
      await note(notes, String(error instanceof InvocationCancelledError && error === getContext().signal.reason));
      throw error;
    }
  });
`;

const sources = (version: string) => ({
  "main.ts": MAIN.replaceAll("VERSION", JSON.stringify(version)),
  "gate.ts": GATE_SOURCE,
});

let target: Target;
let project: DeployedProject;
const gates = await Gates.open();
beforeAll(async () => {
  target = openTarget();
  project = await target.deploy(sources("one"));
});
afterAll(async () => {
  gates.close();
  await target.close();
});

describe.concurrent("nested calls", () => {
  test("a function calls a sibling and uses its results", async () => {
    expect(await project.fn("sumOfSquares").callRemote(10)).toBe(285);
  });

  test("every method works on a sibling", async () => {
    expect(await project.fn("everyMethod").callRemote()).toEqual({
      awaited: 9,
      called: 4,
      starmapped: [16, 25],
      cancelled: "InvocationIsAlreadyTerminated",
      result: 9,
      isMine: true,
      last: "SUCCEEDED",
      local: 36,
    });
  });

  test("the new invocation records its parent", async () => {
    const fn = project.fn<(gate: string) => string>("parent");
    const id = await fn.start(gates.place());
    const { result: childId = "" } = await untilState(fn, id, ({ result }) => result !== undefined);
    expect(await project.fn("child").get(childId)).toMatchObject({ parentInvocationId: id });
    expect((await project.fn("child").list({ parent: id })).invocationIds).toEqual([childId]);
    await project.fn("child").cancel(childId);
  });

  test("a sibling is called in the same version, also after an upgrade", async () => {
    const first = await target.deploy(sources("first"));
    const gate = gates.place();
    const id = await first.fn("inVersion").start(gate);
    await untilStatus(first.fn("inVersion"), id, "RUNNING");
    await target.deploy(sources("second"), { projectName: first.projectName });
    gates.open(gate);
    expect(await first.fn("inVersion").awaitResult(id)).toEqual(["first", "first"]);
    expect(await first.fn("which").callRemote()).toBe("second");
  });

  test("a parent can be named from outside, and must exist", async () => {
    const { projectName } = project;
    const start = (parentInvocationId: string) =>
      target.client.invocations.startInvocation({
        projectName,
        functionName: "square",
        arguments: { positional: { data: Buffer.from("[2]") } },
        parentInvocationId,
      });
    const gate = gates.place();
    const parentId = await project.fn("child").start(gate);
    const { invocationId } = await start(parentId);
    expect(await project.fn("square").get(invocationId)).toMatchObject({ parentInvocationId: parentId });
    gates.open(gate);
    await expect(start(`inv-${"0".repeat(26)}`)).rejects.toMatchObject({
      reason: "ParentInvocationDoesNotExist",
      code: 5,
    });
  });
});

describe.concurrent("the end of a parent", () => {
  test("cancelling it cancels its unfinished descendants, however deep", async () => {
    const fn = project.fn<(depth: number, gate: string) => string[]>("tree");
    const root = await fn.start(3, gates.place());
    const ids = [root];
    for (const id of ids) {
      const { result = [] } = await untilState(fn, id, ({ result: started }) => started !== undefined);
      ids.push(...result);
    }
    expect(ids).toHaveLength(15);
    await fn.cancel(root);
    const ended = await Promise.all(ids.map((id) => untilTerminated(fn, id)));
    expect(new Set(ended.map(({ status }) => status))).toEqual(new Set(["CANCELLED"]));
  });

  test("cancelling it leaves descendants that have finished as they are", async () => {
    const fn = project.fn<(gate: string) => string[]>("twins");
    const child = project.fn("child");
    const id = await fn.start(gates.place());
    const { result: [first = "", second = ""] = [] } = await untilState(fn, id, ({ result }) => result !== undefined);
    await child.cancel(first);
    const before = await untilTerminated(child, first);
    await fn.cancel(id);
    expect((await untilTerminated(child, second)).status).toBe("CANCELLED");
    expect(await child.get(first)).toEqual(before);
  });

  test.each([
    ["succeeds", "SUCCEEDED", "parent"],
    ["fails", "FAILED", "parent"],
    ["times out", "TIMED_OUT", "shortLivedParent"],
  ])("where it %s its children are left running", async (end, status, name) => {
    const fn = project.fn<(gate: string, end: string) => string>(name);
    const gate = gates.place();
    const id = await fn.start(gate, end);
    const ended = await untilTerminated(fn, id);
    expect(ended.status).toBe(status);
    const child = project.fn("child");
    await untilState(child, ended.result ?? "", ({ result }) => result === "running");
    expect((await child.get(ended.result ?? "")).status).toBe("RUNNING");
    gates.open(gate);
    expect(await child.awaitResult(ended.result ?? "")).toBe("child done");
  });
});

describe.concurrent("an interruption", () => {
  test.each(["awaitResult", "callRemote", "map", "watch"])(
    "makes a pending %s reject with its error",
    async (method) => {
      const fn = project.fn("pending");
      const [gate, notes] = [gates.place(), gates.place()];
      const id = await fn.start(method, gate, notes);
      // Children that are running and go on: none of them ends before the interruption has arrived.
      const count = method === "callRemote" || method === "map" ? 2 : 1;
      await eventually(
        () => project.fn("stubborn").list({ parent: id, status: "RUNNING" }),
        ({ invocationIds }) => invocationIds.length === count,
      );
      // What it yields first is behind it: else the interruption is thrown there.
      await untilState(fn, id, ({ result }) => result !== undefined);
      await fn.cancel(id);
      const ended = await untilTerminated(fn, id);
      gates.open(gate);
      expect(ended.status).toBe("CANCELLED");
      expect(ended.executions[0]?.outcome).toBe("ABORTED");
      expect(gates.notes(notes)).toEqual(["true"]);
    },
  );
});
