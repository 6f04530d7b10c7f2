import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WatchUntil } from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { type Invocation, InvocationFailedError } from "../../sdk/typescript/src/index.js";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { errorOf, eventually, untilState, untilStatus, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { getContext, Multinode } from "multinode";
  import { passGate } from "./gate.js";
  export const mn = new Multinode();
  const warm = { maxInvocationsPerWorker: Infinity, workerConcurrency: 8 };
  export const held = mn.function(warm, async (gate: string, fails?: boolean) => {
    await passGate(gate, getContext().signal);
    if (fails) throw new Error("as asked");
    return "passed";
  });
  export const retried = mn.function({ maxRetries: 1, retryDelay: "300ms" }, async (gates: string[]) => {
    await passGate(gates[getContext().attemptNumber - 1]);
    if (getContext().attemptNumber === 1) throw new Error("first");
    return "second";
  });
  export const burst = mn.function({ maxInvocationsPerWorker: 9 }, function* (count: number) {
    for (let i = 1; i <= count; i += 1) yield i;
    return "end";
  });
  export const timesOut = mn.function({ timeout: "200ms", gracePeriod: 0 }, (gate: string) => passGate(gate));
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

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe.concurrent("watch", () => {
  test("the state now, then every change, ending after the finished state", async () => {
    const fn = project.fn<(gates: string[]) => string>("retried");
    const paths = [gates.place(), gates.place()];
    const id = await fn.start(paths);
    const seen: Invocation<string>[] = [];
    for await (const state of fn.watch(id)) {
      seen.push(state);
      const gate = state.status === "RUNNING" ? paths[state.numFailedAttempts] : undefined;
      if (gate !== undefined) gates.open(gate);
    }
    const statuses = seen.map(({ status }) => status).filter((status, i, all) => status !== all[i - 1]);
    // Whether it was seen before it ran is a matter of time.
    expect(statuses.slice(-4)).toEqual(["RUNNING", "PENDING", "RUNNING", "SUCCEEDED"]);
    expect(seen.filter(({ status }) => status === "PENDING").at(-1)).toMatchObject({
      error: "Error: first",
      numFailedAttempts: 1,
    });
    expect(seen.at(-1)).toMatchObject({ status: "SUCCEEDED", result: "second" });
  });

  test("until terminated, if asked", async () => {
    const fn = project.fn("held");
    const gate = gates.place();
    gates.open(gate);
    const states = await collect(fn.watch(await fn.start(gate), { until: "terminated" }));
    expect(states.at(-1)).toMatchObject({ status: "SUCCEEDED", terminated: true });
  });

  test("of a finished invocation it is its state, and ends", async () => {
    const fn = project.fn("held");
    const gate = gates.place();
    gates.open(gate);
    const id = await fn.start(gate);
    await untilTerminated(fn, id);
    expect(await collect(fn.watch(id))).toMatchObject([{ status: "SUCCEEDED", terminated: true, result: "passed" }]);
  });

  test("yields that come faster than the reader reads may be merged, the order and the end are kept", async () => {
    const fn = project.fn<(count: number) => number | string>("burst");
    const states = await collect(fn.watch(await fn.start(2_000)));
    const values = states.map(({ result }) => result).filter((result) => typeof result === "number");
    expect(values).toEqual(values.toSorted((a, b) => a - b));
    expect(states.at(-1)).toMatchObject({ status: "SUCCEEDED", result: "end" });
  });

  test("goes on from the last revision", async () => {
    const fn = project.fn<(gate: string) => string>("held");
    const gate = gates.place();
    const invocationId = await fn.start(gate);
    const { revision } = await untilStatus(fn, invocationId, "RUNNING");
    gates.open(gate);
    await untilTerminated(fn, invocationId);
    const resumed = async function* () {
      yield { add: [{ invocationId, afterRevision: revision, until: WatchUntil.TERMINATED }] };
    };
    const messages = await collect(target.client.invocations.watchInvocations(resumed()));
    const revisions = messages.flatMap(({ invocations }) => invocations.map((invocation) => invocation.revision));
    expect(revisions.length).toBeGreaterThan(0);
    for (const sent of revisions) expect(sent).toBeGreaterThan(revision);
  });

  test("one stream carries many invocations, and a refusal of one leaves the others", async () => {
    const fn = project.fn("held");
    const gate = gates.place();
    const ids = await Promise.all(Array.from({ length: 5 }, () => fn.start(gate)));
    gates.open(gate);
    const unknown = `inv-${"0".repeat(26)}`;
    const requests = async function* () {
      yield { add: [...ids, unknown].map((invocationId) => ({ invocationId })) };
    };
    const messages = await collect(target.client.invocations.watchInvocations(requests()));
    const finished = messages
      .flatMap(({ invocations }) => invocations)
      .filter(({ finishTimeMs }) => finishTimeMs !== undefined);
    expect(new Set(finished.map(({ invocationId }) => invocationId))).toEqual(new Set(ids));
    expect(messages.flatMap(({ refusals }) => refusals)).toMatchObject([{ invocationId: unknown, error: { code: 5 } }]);
  });

  test("of an unknown invocation it throws InvocationDoesNotExist", async () => {
    const watching = collect(project.fn("held").watch(`inv-${"0".repeat(26)}`));
    await expect(watching).rejects.toMatchObject({ reason: "InvocationDoesNotExist" });
  });
});

describe.concurrent("awaitResult and callRemote", () => {
  test("answers the result of one that succeeds, and of one that has", async () => {
    const fn = project.fn("held");
    const gate = gates.place();
    const id = await fn.start(gate);
    const waiting = fn.awaitResult(id);
    gates.open(gate);
    expect(await waiting).toBe("passed");
    expect(await fn.awaitResult(id)).toBe("passed");
    expect(await fn.callRemote(gate)).toBe("passed");
  });

  test("throws InvocationFailedError with the error and the invocation", async () => {
    const fn = project.fn("held");
    const gate = gates.place();
    gates.open(gate);
    const waited = async () => await fn.awaitResult(await fn.start(gate, true));
    for (const call of [() => fn.callRemote(gate, true), waited]) {
      const error = await errorOf(call());
      expect(error).toBeInstanceOf(InvocationFailedError);
      expect(error).toMatchObject({ invocation: { status: "FAILED", error: "Error: as asked" } });
      expect(String(error)).toContain("Error: as asked");
    }
  });

  test("throws InvocationCancelledError and InvocationTimedOutError", async () => {
    const fn = project.fn("held");
    const id = await fn.start(gates.place());
    const waiting = errorOf(fn.awaitResult(id));
    await untilStatus(fn, id, "RUNNING");
    await fn.cancel(id);
    expect(await waiting).toMatchObject({ reason: "InvocationCancelledError", invocation: { status: "CANCELLED" } });
    const timedOut = project.fn("timesOut").callRemote(gates.place());
    await expect(timedOut).rejects.toMatchObject({
      reason: "InvocationTimedOutError",
      invocation: { status: "TIMED_OUT" },
    });
  });

  test("aborting its signal stops the waiting and leaves the invocation alone", async () => {
    const fn = project.fn("held");
    const gate = gates.place();
    const id = await fn.start(gate);
    const controller = new AbortController();
    const waiting = errorOf(fn.awaitResult(id, { signal: controller.signal }));
    await untilStatus(fn, id, "RUNNING");
    controller.abort(new Error("enough"));
    expect(await waiting).toMatchObject({ message: "enough" });
    expect((await fn.get(id)).status).toBe("RUNNING");
    gates.open(gate);
    expect(await fn.awaitResult(id)).toBe("passed");
  });

  test("with cancelOnAbort it cancels the invocation too", async () => {
    const fn = project.fn("held");
    const id = await fn.start(gates.place());
    const controller = new AbortController();
    const waiting = errorOf(fn.awaitResult(id, { signal: controller.signal, cancelOnAbort: true }));
    await untilStatus(fn, id, "RUNNING");
    controller.abort(new Error("enough"));
    expect(await waiting).toMatchObject({ message: "enough" });
    expect((await untilTerminated(fn, id)).status).toBe("CANCELLED");
  });

  test("a watch ends with its signal's reason", async () => {
    const fn = project.fn("held");
    const gate = gates.place();
    const id = await fn.start(gate);
    const controller = new AbortController();
    const watching = errorOf(collect(fn.watch(id, { signal: controller.signal })));
    await untilState(fn, id, ({ status }) => status === "RUNNING");
    controller.abort(new Error("enough"));
    expect(await watching).toMatchObject({ message: "enough" });
    gates.open(gate);
    await eventually(
      () => fn.get(id),
      ({ status }) => status === "SUCCEEDED",
    );
  });
});
