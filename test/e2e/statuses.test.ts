import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { untilState, untilStatus, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { getContext, Multinode } from "multinode";
  import { holdLine, passGate } from "./gate.js";
  export const mn = new Multinode();
  const wait = async (gate: string, outcome?: string) => {
    await passGate(gate);
    if (outcome === "FAILED") throw new Error("as asked");
    return outcome;
  };
  export const cleansUp = mn.function(async (gate: string, never: string) => {
    const { signal } = getContext();
    await passGate(never, signal).catch(() => undefined);
    await passGate(gate);
  });
  const one = { maxConcurrency: 1 };
  export const succeeds = mn.function(one, wait);
  export const others = mn.function(wait);
  export const timesOut = mn.function({ timeout: "300ms", gracePeriod: 0 }, wait);
  export const held = mn.function(holdLine);
  export const context = mn.function(() => {
    const { signal, logger, ...rest } = getContext();
    return rest;
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

describe.concurrent("statuses", () => {
  test("PENDING while queued, RUNNING while running, then SUCCEEDED", async () => {
    const fn = project.fn<(gate: string) => string>("succeeds");
    const [gate, blockingGate] = [gates.place(), gates.place()];
    const blocking = await fn.start(blockingGate);
    await untilStatus(fn, blocking, "RUNNING");
    const id = await fn.start(gate);
    expect(await fn.get(id)).toMatchObject({
      status: "PENDING",
      terminated: false,
      result: undefined,
      error: undefined,
      startedAt: undefined,
      finishedAt: undefined,
      executions: [],
    });
    gates.open(blockingGate);
    await untilStatus(fn, id, "RUNNING");
    const running = await fn.get(id);
    expect(running).toMatchObject({ terminated: false, finishedAt: undefined, numFailedAttempts: 0 });
    expect(running.startedAt).toBeInstanceOf(Date);
    expect(running.executions).toHaveLength(1);
    expect(running.executions[0]).toMatchObject({ attemptNumber: 1, outcome: undefined, finishedAt: undefined });
    gates.open(gate);
    expect((await untilTerminated(fn, id)).status).toBe("SUCCEEDED");
  });

  test("FAILED with its error", async () => {
    const fn = project.fn("others");
    const gate = gates.place();
    gates.open(gate);
    const ended = await untilTerminated(fn, await fn.start(gate, "FAILED"));
    expect(ended).toMatchObject({ status: "FAILED", error: "Error: as asked", numFailedAttempts: 1 });
    expect(ended.executions[0]).toMatchObject({ outcome: "FAILED", error: "Error: as asked", terminated: true });
  });

  test("CANCELLING until the execution has ended, then CANCELLED", async () => {
    const fn = project.fn("cleansUp");
    const gate = gates.place();
    const id = await fn.start(gate, gates.place());
    await untilStatus(fn, id, "RUNNING");
    await fn.cancel(id);
    const cancelling = await fn.get(id);
    expect(cancelling).toMatchObject({ status: "CANCELLING", terminated: false, finishedAt: undefined });
    expect(cancelling.cancelRequestedAt).toBeInstanceOf(Date);
    gates.open(gate);
    expect((await untilTerminated(fn, id)).status).toBe("CANCELLED");
  });

  test("TIMED_OUT after the timeout", async () => {
    const fn = project.fn("timesOut");
    expect((await untilTerminated(fn, await fn.start(gates.place()))).status).toBe("TIMED_OUT");
  });

  test("terminated is never true before a finished status, and becomes true after it", async () => {
    const fn = project.fn("others");
    const gate = gates.place();
    gates.open(gate);
    const seen = [];
    for await (const { status, terminated } of fn.watch(await fn.start(gate), { until: "terminated" })) {
      seen.push({ status, terminated });
    }
    expect(seen.at(-1)).toEqual({ status: "SUCCEEDED", terminated: true });
    for (const { status } of seen.filter(({ terminated }) => terminated)) expect(status).toBe("SUCCEEDED");
  });

  test("a terminated invocation holds no worker: its process is gone", async () => {
    const fn = project.fn("held");
    const lines = Array.from({ length: 6 }, () => gates.place());
    const holdersAtEnd = await Promise.all(
      lines.map(async (line) => {
        await untilState(fn, await fn.start(line), ({ terminated }) => terminated);
        return gates.holders(line);
      }),
    );
    expect(holdersAtEnd).toEqual(lines.map(() => ({ now: 0, ever: 1 })));
  });
});

describe.concurrent("get", () => {
  test("answers every attribute of an invocation, and of its executions", async () => {
    const fn = project.fn("others");
    const gate = gates.place();
    gates.open(gate);
    const id = await fn.start(gate, "done");
    const invocation = await untilTerminated(fn, id);
    const { createdAt, startedAt, finishedAt, revision, executions } = invocation;
    expect(invocation).toEqual({
      id,
      projectName: project.projectName,
      versionId: project.versionId,
      functionName: "others",
      parentInvocationId: undefined,
      status: "SUCCEEDED",
      result: "done",
      error: undefined,
      terminated: true,
      numFailedAttempts: 0,
      createdAt: expect.any(Date),
      startedAt: expect.any(Date),
      finishedAt: expect.any(Date),
      cancelRequestedAt: undefined,
      expiresAt: undefined,
      revision,
      executions,
    });
    expect(revision).toBeGreaterThan(1);
    expect(executions).toEqual([
      {
        id: expect.stringMatching(/^exe-/),
        attemptNumber: 1,
        outcome: "SUCCEEDED",
        error: undefined,
        terminated: true,
        createdAt: expect.any(Date),
        startedAt: expect.any(Date),
        finishedAt: expect.any(Date),
        workerId: expect.stringMatching(/^wrk-/),
      },
    ]);
    const [execution] = executions;
    const times = [createdAt, execution?.createdAt, startedAt, execution?.startedAt, finishedAt].map(Number);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(execution?.finishedAt).toEqual(finishedAt);
  });

  test("a function knows its own project, version, invocation, execution and attempt", async () => {
    const fn = project.fn<() => Record<string, unknown>>("context");
    const id = await fn.start();
    const { result, executions } = await untilTerminated(fn, id);
    expect(result).toMatchObject({
      projectName: project.projectName,
      versionId: project.versionId,
      functionName: "context",
      invocationId: id,
      executionId: executions[0]?.id,
      attemptNumber: 1,
    });
  });
});
