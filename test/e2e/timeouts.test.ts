import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { LATE_MS, untilStatus, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { getContext, InvocationTimedOutError, Multinode } from "multinode";
  import { setTimeout } from "node:timers/promises";
  import { passGate } from "./gate.js";
  export const mn = new Multinode();
  const limits = { timeout: "400ms", gracePeriod: "400ms" } as const;
  const longGrace = { timeout: "400ms", gracePeriod: "20s" } as const;
  export const heeds = mn.function({ ...longGrace, maxRetries: 3 }, async () => {
    await setTimeout(20_000, undefined, { signal: getContext().signal });
  });
  export const quick = mn.function({ timeout: "10s" }, () => "in time");
  export const swallows = mn.function(longGrace, async () => {
    const { signal } = getContext();
    await setTimeout(20_000, undefined, { signal }).catch(() => undefined);
    return [signal.reason instanceof InvocationTimedOutError, signal.reason.name];
  });
  export const ignores = mn.function({ ...limits, maxRetries: 3 }, () => setTimeout(20_000));
  export const spins = mn.function({ ...limits, maxRetries: 3 }, () => { for (;;); });
  export const noGrace = mn.function({ timeout: "300ms", gracePeriod: 0 }, () => setTimeout(20_000));
  export const yields = mn.function(longGrace, async function* () {
    yield "begun";
    try {
      for (;;) { await setTimeout(20); yield "on"; }
    } catch (error) {
      yield error instanceof InvocationTimedOutError ? "cleaned up" : String(error);
      throw error;
    }
  });
  export const failsWhenInterrupted = mn.function({ ...longGrace, maxRetries: 3 }, async () => {
    await setTimeout(20_000, undefined, { signal: getContext().signal }).catch(() => undefined);
    throw new Error("cleaning up failed");
  });
  export const single = mn.function({ timeout: "3s", gracePeriod: 0, maxConcurrency: 1 }, (gate: string) => passGate(gate));
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

async function run(name: string) {
  const fn = project.fn(name);
  const invocation = await untilTerminated(fn, await fn.start());
  const [execution] = invocation.executions;
  return { invocation, execution, ranMs: Number(execution?.finishedAt) - Number(execution?.startedAt) };
}

describe.concurrent("timeouts", () => {
  test("a function that ends in time is not touched", async () => {
    const { invocation } = await run("quick");
    expect(invocation).toMatchObject({ status: "SUCCEEDED", result: "in time" });
  });

  test("one that heeds the signal is ABORTED and TIMED_OUT, and is not retried", async () => {
    const { invocation, execution, ranMs } = await run("heeds");
    expect(invocation).toMatchObject({ status: "TIMED_OUT", numFailedAttempts: 0 });
    expect(invocation.executions).toHaveLength(1);
    expect(execution?.outcome).toBe("ABORTED");
    expect(ranMs).toBeGreaterThanOrEqual(400);
    await expect(project.fn("heeds").awaitResult(invocation.id)).rejects.toMatchObject({
      reason: "InvocationTimedOutError",
    });
  });

  test("the reason of the signal is an InvocationTimedOutError", async () => {
    const { invocation } = await run("swallows");
    expect(invocation).toMatchObject({ status: "TIMED_OUT", result: [true, "InvocationTimedOutError"] });
  });

  test.each(["ignores", "spins"])(
    "%s: what ignores it is killed after the grace period, TIMED_OUT, not retried",
    async (name) => {
      const { invocation, execution, ranMs } = await run(name);
      expect(invocation).toMatchObject({ status: "TIMED_OUT", numFailedAttempts: 1 });
      expect(invocation.executions).toHaveLength(1);
      expect(execution?.outcome).toBe("FAILED");
      expect(ranMs).toBeGreaterThanOrEqual(800);
      expect(ranMs).toBeLessThan(800 + LATE_MS);
    },
  );

  test("without a grace period it is killed at once", async () => {
    const { invocation, ranMs } = await run("noGrace");
    expect(invocation.status).toBe("TIMED_OUT");
    expect(ranMs).toBeGreaterThanOrEqual(300);
    expect(ranMs).toBeLessThan(300 + LATE_MS);
  });

  test("the error is thrown into a generator at its yield, and the last value stays visible", async () => {
    const { invocation, execution } = await run("yields");
    expect(invocation).toMatchObject({ status: "TIMED_OUT", result: "cleaned up" });
    expect(execution?.outcome).toBe("ABORTED");
  });

  test("an error of the cleaning up leaves it TIMED_OUT, and is not retried", async () => {
    const { invocation } = await run("failsWhenInterrupted");
    expect(invocation.status).toBe("TIMED_OUT");
    expect(invocation.executions).toHaveLength(1);
  });

  test("queueing does not count", async () => {
    const fn = project.fn<(gate: string) => void>("single");
    const first = await fn.start(gates.place());
    await untilStatus(fn, first, "RUNNING");
    const gate = gates.place();
    gates.open(gate);
    const second = await fn.start(gate);
    expect((await untilTerminated(fn, first)).status).toBe("TIMED_OUT");
    const ended = await untilTerminated(fn, second);
    expect(ended.status).toBe("SUCCEEDED");
    expect(Number(ended.startedAt) - Number(ended.createdAt)).toBeGreaterThanOrEqual(800);
  });
});
