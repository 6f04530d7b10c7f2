import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { FunctionHandle } from "../../sdk/typescript/src/index.js";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { eventually, untilState, untilStatus, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { Multinode } from "multinode";
  import { holdLine, passGate } from "./gate.js";
  export const mn = new Multinode();
  /** Each worker loads this module once. */
  const worker = crypto.randomUUID();
  let calls = 0;
  const look = async (line: string, gate?: string) => {
    calls += 1;
    const call = calls;
    if (call === 1) await holdLine(line);
    if (gate !== undefined) await passGate(gate);
    return { worker, call };
  };
  async function* lookAndWait(gate: string) {
    yield { worker };
    await passGate(gate);
  }
  export const fresh = mn.function(look);
  export const reused = mn.function({ maxInvocationsPerWorker: Infinity }, look);
  export const thrice = mn.function({ maxInvocationsPerWorker: 3 }, look);
  export const failing = mn.function({ maxInvocationsPerWorker: Infinity }, (fails: boolean) => {
    if (fails) throw new Error("no, " + worker);
    return worker;
  });
  export const sideBySide = mn.function(
    { maxInvocationsPerWorker: Infinity, workerConcurrency: 3, maxConcurrency: 4 }, lookAndWait);
  export const two = mn.function({ maxConcurrency: 2 }, lookAndWait);
  export const brief = mn.function({ maxInvocationsPerWorker: Infinity, idleTimeout: "8s" }, look);
  export const ready = mn.function({ maxInvocationsPerWorker: Infinity, minWorkers: 2, idleTimeout: 0 }, look);
`;

interface Look {
  readonly worker: string;
  readonly call: number;
}

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

/** The result of a call whose worker has been given back. */
async function settledCall<Args extends unknown[], R>(
  fn: FunctionHandle<Args, R>,
  ...args: Args
): Promise<R | undefined> {
  return (await untilTerminated(fn, await fn.start(...args))).result;
}

/** Calls a function that looks around, one call after the other. Its workers hold the line. */
async function looks(name: string, count: number, line = gates.place()): Promise<Look[]> {
  const fn = project.fn<(line: string) => Look>(name);
  const found: Look[] = [];
  while (found.length < count) found.push((await settledCall(fn, line)) ?? { worker: "", call: 0 });
  return found;
}

/** The numbers of the calls that each worker counted. */
function livesOf(found: readonly Look[]): readonly number[][] {
  return [...Map.groupBy(found, ({ worker }) => worker).values()].map((calls) => calls.map(({ call }) => call));
}

describe.concurrent("workers", () => {
  test("each execution has a fresh worker by default", async () => {
    const line = gates.place();
    const found = await looks("fresh", 3, line);
    expect(new Set(found.map(({ worker }) => worker)).size).toBe(3);
    expect(found.map(({ call }) => call)).toEqual([1, 1, 1]);
    expect(await gates.holders(line)).toEqual({ now: 0, ever: 3 });
  });

  test("a worker with room for more is used again", async () => {
    const lives = livesOf(await looks("reused", 4 * target.schedulers));
    // A worker is of one scheduler, and any of them may take a call.
    expect(lives.length).toBeLessThanOrEqual(target.schedulers);
    for (const calls of lives) expect(calls).toEqual(calls.map((_, index) => index + 1));
  });

  test("a worker runs maxInvocationsPerWorker executions in its life", async () => {
    const lives = livesOf(await looks("thrice", 6));
    for (const calls of lives) expect(calls).toEqual([1, 2, 3].slice(0, calls.length));
    expect(lives.length).toBeLessThanOrEqual(1 + target.schedulers);
  });

  test("a worker whose function threw is used again", async () => {
    const fn = project.fn<(fails: boolean) => string>("failing");
    const workers = new Set<string | undefined>();
    for (let turn = 0; turn < target.schedulers; turn += 1) {
      workers.add(await settledCall(fn, false));
      const failed = await untilTerminated(fn, await fn.start(true));
      expect(failed).toMatchObject({ status: "FAILED", error: expect.stringMatching(/^Error: no, [0-9a-f-]{36}$/) });
      workers.add(failed.error?.slice("Error: no, ".length));
      workers.add(await settledCall(fn, false));
    }
    expect(workers.size).toBeLessThanOrEqual(target.schedulers);
  });

  test("one worker runs workerConcurrency executions side by side", async () => {
    const fn = project.fn<(gate: string) => Look>("sideBySide");
    const gate = gates.place();
    const ids = await Promise.all(Array.from({ length: 4 }, () => fn.start(gate)));
    const running = await Promise.all(ids.map((id) => untilState(fn, id, ({ result }) => result !== undefined)));
    const counts = Map.groupBy(running, ({ result }) => result?.worker);
    expect([...counts.values()].map(({ length }) => length).toSorted((a, b) => a - b)).toEqual([1, 3]);
    gates.open(gate);
    await Promise.all(ids.map((id) => fn.awaitResult(id)));
  });

  test("at most maxConcurrency executions hold a worker, over all versions of the project", async () => {
    const files = { "main.ts": MAIN, "gate.ts": GATE_SOURCE };
    const first = await target.deploy(files);
    const { projectName, versionId, fn: functionOf } = await target.deploy(files, { projectName: first.projectName });
    const fn = functionOf<(gate: string) => Look>("two");
    const gate = gates.place();
    const old = target.fn<(gate: string) => Look>(projectName, "two", first.versionId);
    const running = [await fn.start(gate), await old.start(gate)];
    for (const id of running) await untilStatus(fn, id, "RUNNING");
    const versions = await Promise.all(running.map(async (id) => (await fn.get(id)).versionId));
    expect(versions).toEqual([versionId, first.versionId]);
    const waiting = [await fn.start(gate), await old.start(gate)];
    // A later invocation of another function overtakes them, so they are not merely late.
    await functionOf("fresh").callRemote(gates.place());
    for (const id of waiting) expect(await fn.get(id)).toMatchObject({ status: "PENDING", executions: [] });
    gates.open(gate);
    const ended = await Promise.all([...running, ...waiting].map((id) => untilTerminated(fn, id)));
    const spans = ended.flatMap(({ executions }) =>
      executions.flatMap(({ startedAt, finishedAt }) => [
        { at: Number(startedAt), by: 1 },
        { at: Number(finishedAt), by: -1 },
      ]),
    );
    let holding = 0;
    for (const { by } of spans.toSorted((a, b) => a.at - b.at || a.by - b.by)) {
      holding += by;
      expect(holding).toBeLessThanOrEqual(2);
    }
  });

  test("an idle worker is kept for idleTimeout, then ended", async () => {
    const line = gates.place();
    const lives = livesOf(await looks("brief", target.schedulers + 1, line));
    expect(lives.length).toBeLessThanOrEqual(target.schedulers);
    await eventually(
      () => gates.holders(line),
      ({ now }) => now === 0,
    );
    const [next] = await looks("brief", 1);
    expect(next?.call).toBe(1);
  });

  test("minWorkers warm workers are kept ready, also above the idle timeout", async () => {
    // Each scheduler keeps as many, and lists its own: a call comes to any of them.
    const seen = new Set<string>();
    const workers = async () => {
      const { workers: all } = await target.client.scheduler.listWorkers({});
      return all.filter((worker) => worker.projectName === project.projectName && worker.functionName === "ready");
    };
    await eventually(
      async () => {
        for (const { workerId } of await workers()) seen.add(workerId);
        return seen.size;
      },
      (count) => count === 2 * target.schedulers,
    );
    const [memoryBytes = 0] = (await workers()).map((worker) => worker.memoryBytes);
    expect(memoryBytes).toBeGreaterThan(10_000_000); // of a process that runs Node
    const gate = gates.place();
    const fn = project.fn<(line: string, gate: string) => Look>("ready");
    const ids = [await fn.start(gates.place(), gate), await fn.start(gates.place(), gate)];
    gates.open(gate);
    const ended = await Promise.all(ids.map((id) => untilTerminated(fn, id)));
    const used = ended.map(({ executions }) => executions[0]?.workerId);
    expect([...seen]).toEqual(expect.arrayContaining(used));
    expect(await eventually(workers, ({ length }) => length === 2)).toHaveLength(2);
  });
});
