/** Schedulers that are killed or stand still while their workers live. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Status } from "../../../gen/multinode/invocation/v1/invocation.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { reports } from "../../invocation/test_invocation.js";
import { Refusal } from "../../platform/errors.js";
import type { FakeExecution } from "../runtime/fake.js";
import { openTestCluster, type TestCluster } from "../test_cluster.js";
import { becomes } from "../test_scheduler.js";

const WAIT = { timeout: 8_000, interval: 5 };
const WARM = { maxInvocationsPerWorker: 0, workerConcurrency: 4 };
let cluster: TestCluster;

beforeEach(async () => {
  cluster = await openTestCluster();
});
afterEach(() => cluster.close());

async function running(count: number): Promise<FakeExecution[]> {
  return await vi.waitFor(() => {
    expect(cluster.engine.executions).toHaveLength(count);
    return cluster.engine.executions;
  }, WAIT);
}

/** Starts so many, which run, and have begun to. */
async function startRunning(name: string, count: number): Promise<{ ids: string[]; executions: FakeExecution[] }> {
  const ids = await Promise.all(Array.from({ length: count }, () => cluster.invocations.start(name)));
  const executions = await running(count);
  for (const id of ids) await becomes(cluster.invocations, id, { status: Status.RUNNING });
  return { ids, executions };
}

/** Waits until a scheduler holds as many executions, with these epochs. */
async function holds(schedulerId: string, epochs: readonly number[]): Promise<void> {
  await vi.waitFor(async () => {
    const { leases } = await cluster.invocations.dispatch.listLeases({ schedulerId });
    expect(leases.map(({ ref }) => ref?.epoch)).toEqual(epochs);
  }, WAIT);
}

/** Lets time pass until something is so. */
async function forwardUntil(check: () => void): Promise<void> {
  await vi.waitFor(async () => {
    await cluster.forward(4_000);
    check();
  }, WAIT);
}

async function succeedOnce(ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    const { executions } = await becomes(cluster.invocations, id, { status: Status.SUCCEEDED, terminated: true });
    expect(executions).toHaveLength(1);
  }
  const queues = await cluster.invocations.db.read((tx) => tx.all("SELECT used, queued FROM queues"));
  for (const queue of queues) expect(queue).toEqual({ used: 0, queued: 0 });
}

/** Ends all that is left of a worker that nobody may stop. */
const isKilled = ({ worker }: FakeExecution) => !worker.exists || worker.isStopping;

describe("a second process that an engine has started as one worker", () => {
  it("is refused, and runs nothing of what the first one runs, also when that connects again", async () => {
    await cluster.open();
    cluster.invocations.catalog.add("f", { maxConcurrency: 5 });
    const { ids, executions } = await startRunning("f", 1);
    const [{ worker } = expect.fail()] = executions;
    const twin = worker.twin();
    twin.connect();
    // A real one ends itself when it is refused; this one comes again and again.
    await vi.waitFor(() => expect(twin.connections).toBeGreaterThan(3), WAIT);
    worker.disconnect();
    await vi.waitFor(() => expect(twin.connections).toBeGreaterThan(6), WAIT);
    worker.connect();
    await vi.waitFor(() => expect(worker.isAdrift).toBe(false), WAIT);
    expect(twin.commands).toEqual([]);
    twin.die("its time is over");
    executions[0]?.return(1);
    await succeedOnce(ids);
  });
});

describe("a scheduler that is killed", () => {
  it("costs no attempt: its workers go on with another, and end there", async () => {
    const [one] = [await cluster.open(), await cluster.open({ maxWorkers: 0 })];
    cluster.invocations.catalog.add("fresh", { maxConcurrency: 20 });
    cluster.invocations.catalog.add("warm", { ...WARM, maxConcurrency: 20 });
    const fresh = await startRunning("fresh", 6);
    const warm = await Promise.all(Array.from({ length: 6 }, () => cluster.invocations.start("warm")));
    const executions = await running(12);
    one.kill();
    for (const execution of executions) execution.return(1);
    await succeedOnce([...fresh.ids, ...warm]);
    await vi.waitFor(() => expect(cluster.engine.workers.size).toBe(0), WAIT);
  });

  it("each in turn, and the executions go from one to the next", async () => {
    const first = await cluster.open();
    cluster.invocations.catalog.add("f", { maxConcurrency: 5 });
    const { ids, executions } = await startRunning("f", 5);
    const second = await cluster.open();
    first.kill();
    await holds(second.id, [2, 2, 2, 2, 2]);
    const third = await cluster.open();
    second.kill();
    await holds(third.id, [3, 3, 3, 3, 3]);
    // The leases of the dead are over, and cost nothing.
    await cluster.forward(LIMITS.leaseDurationMs + 2_000);
    await vi.waitFor(async () => {
      expect(await cluster.invocations.db.read((tx) => tx.all("SELECT id FROM schedulers"))).toEqual([
        { id: third.id },
      ]);
    }, WAIT);
    expect(executions.some(isKilled)).toBe(false);
    for (const execution of executions) execution.return(1);
    await succeedOnce(ids);
  });

  it("and starts again under its name waits for its workers", async () => {
    const schedulerId = cluster.invocations.ids.next("sch");
    const before = await cluster.open({ schedulerId });
    cluster.invocations.catalog.add("f", { maxConcurrency: 3 });
    const { ids, executions } = await startRunning("f", 3);
    const [gone, away, back] = executions;
    if (gone === undefined || away === undefined || back === undefined) throw new Error("three were to run");
    before.kill();
    for (const { worker } of [gone, away]) worker.disconnect();
    gone.worker.die("was killed");
    await cluster.open({ schedulerId });
    // One that is gone is lost at once.
    await becomes(cluster.invocations, gone.assigned.invocationId, { status: Status.FAILED, terminated: true });
    back.return(1);
    await becomes(cluster.invocations, back.assigned.invocationId, { status: Status.SUCCEEDED, terminated: true });
    // One that lives has time to come.
    await cluster.forward(LIMITS.workerFenceMs);
    expect(isKilled(away)).toBe(false);
    away.worker.connect();
    await holds(schedulerId, [1]);
    away.return(2);
    await succeedOnce(ids.filter((id) => id !== gone.assigned.invocationId));
  });

  it("leaves workers that come to nobody, which are stopped when their time is over", async () => {
    const one = await cluster.open({ spareWorkers: 2 });
    cluster.invocations.catalog.add("f", { maxRetries: 1 });
    const { ids, executions } = await startRunning("f", 1);
    const [execution] = executions;
    await vi.waitFor(() => expect(cluster.engine.workers.size).toBe(3), WAIT);
    one.kill();
    for (const worker of cluster.engine.workers.values()) worker.disconnect();
    await cluster.open({ maxWorkers: 1 });
    await cluster.forward(LIMITS.workerFenceMs);
    expect(cluster.engine.history.filter(({ exists }) => exists).length).toBeGreaterThanOrEqual(3);
    await forwardUntil(() => expect(execution?.worker.exists).toBe(false));
    const [again] = await running(1);
    again?.return(2);
    await becomes(cluster.invocations, ids[0] ?? "", {
      status: Status.SUCCEEDED,
      numFailedAttempts: 1,
      terminated: true,
    });
    await vi.waitFor(() => expect(cluster.engine.workers.size).toBe(0), WAIT);
  });

  it("takes no interruption with it", async () => {
    const one = await cluster.open();
    cluster.invocations.catalog.add("f", { gracePeriodMs: 60_000 });
    const { ids, executions } = await startRunning("f", 1);
    const [execution] = executions;
    await cluster.invocations.cancel(ids[0] ?? "");
    await vi.waitFor(() => expect(execution?.interruptions).toHaveLength(1), WAIT);
    one.kill();
    await cluster.forward(30_000).catch(() => {}); // nobody renews
    const other = await cluster.open({ maxWorkers: 0 });
    await vi.waitFor(() => expect(execution?.interruptions.length).toBeGreaterThan(1), WAIT);
    await holds(other.id, [2]);
    execution?.throw("Error: interrupted");
    await becomes(cluster.invocations, ids[0] ?? "", { status: Status.CANCELLED, terminated: true });
  });

  it("between the two signals does not keep the second from coming", async () => {
    const one = await cluster.open();
    cluster.invocations.catalog.add("f", { gracePeriodMs: 400 });
    const { ids, executions } = await startRunning("f", 1);
    await cluster.invocations.cancel(ids[0] ?? "");
    await vi.waitFor(() => expect(executions[0]?.interruptions).toHaveLength(1), WAIT);
    await cluster.open({ maxWorkers: 0 });
    one.kill();
    await becomes(cluster.invocations, ids[0] ?? "", { status: Status.CANCELLED, terminated: true });
    expect(executions[0]?.worker.exists).toBe(false);
  });
});

it("what is held open for a scheduler goes when that is gone for good, and not before", async () => {
  const [one, other] = [await cluster.open(), await cluster.open()];
  for (const { id } of [one, other]) cluster.engine.held.add(id);
  one.kill();
  await cluster.forward(LIMITS.leaseDurationMs - 4_000);
  expect([...cluster.engine.held]).toEqual([one.id, other.id]);
  await cluster.forward(LIMITS.workerOrphanMs + 12_000);
  await vi.waitFor(() => expect([...cluster.engine.held]).toEqual([other.id]), WAIT);
});

describe("a scheduler that stands still past its lease", () => {
  it("and wakes leaves alone what is with another now", async () => {
    const one = await cluster.open();
    cluster.invocations.catalog.add("fresh", { maxConcurrency: 3 });
    const { ids, executions } = await startRunning("fresh", 3);
    const other = await cluster.open();
    const wake = one.pause();
    await holds(other.id, [2, 2, 2]);
    await cluster.forward(LIMITS.leaseDurationMs + 2_000);
    wake();
    // It takes part again, and looks for strangers.
    await cluster.forward(LIMITS.workerOrphanMs + 12_000);
    expect(executions.some(isKilled)).toBe(false);
    for (const execution of executions) execution.return(1);
    await succeedOnce(ids);
    await vi.waitFor(() => expect(cluster.engine.workers.size).toBe(0), WAIT);
  });

  it("and is stopped as soon as it wakes costs nothing", async () => {
    const one = await cluster.open();
    cluster.invocations.catalog.add("f", { maxConcurrency: 3 });
    const moved = await startRunning("f", 2);
    const other = await cluster.open({ maxWorkers: 0 });
    const wake = one.pause();
    await holds(other.id, [2, 2]);
    wake();
    const own = await cluster.invocations.start("f");
    await becomes(cluster.invocations, own, { status: Status.RUNNING });
    const executions = await running(3);
    await one.stop();
    await holds(other.id, [2, 2, 2]);
    expect(executions.some(isKilled)).toBe(false);
    for (const execution of executions) execution.return(1);
    await succeedOnce([...moved.ids, own]);
  });

  it("does not kill, by an interruption of one execution, the others of a worker that has moved", async () => {
    const one = await cluster.open();
    cluster.invocations.catalog.add("warm", { ...WARM, gracePeriodMs: 300 });
    const { ids, executions } = await startRunning("warm", 2);
    const [heeds, goesOn] = executions;
    if (heeds === undefined || goesOn === undefined) throw new Error("two were to run");
    expect(heeds.worker).toBe(goesOn.worker);
    await cluster.invocations.cancel(heeds.assigned.invocationId);
    await vi.waitFor(() => expect(heeds.interruptions).toHaveLength(1), WAIT);
    const other = await cluster.open();
    const wake = one.pause();
    await holds(other.id, [2, 2]);
    heeds.throw("Error: interrupted");
    await becomes(cluster.invocations, heeds.assigned.invocationId, { status: Status.CANCELLED });
    await new Promise((resolve) => setTimeout(resolve, 400)); // the grace period, by the clock of the one that is paused
    wake();
    await cluster.forward(LIMITS.workerOrphanMs + 12_000);
    expect(isKilled(goesOn)).toBe(false);
    goesOn.return(1);
    await succeedOnce(ids.filter((id) => id === goesOn.assigned.invocationId));
  });

  it("reports what it has heard before, and is not believed", async () => {
    const one = await cluster.open();
    cluster.invocations.catalog.add("f");
    const { ids, executions } = await startRunning("f", 1);
    const { leases } = await cluster.invocations.dispatch.listLeases({ schedulerId: one.id });
    const stale = leases[0]?.ref;
    if (stale === undefined) throw new Error("it holds nothing");
    const other = await cluster.open();
    one.pause();
    await holds(other.id, [2]);
    const { ref: _, ...threw } = reports.threw({ ref: undefined }, { killed: true, released: true });
    expect(await cluster.invocations.report({ ...threw, ref: stale as never })).toEqual(["ExecutionIsNotCurrent"]);
    executions[0]?.return(1);
    await succeedOnce(ids);
  });

  it("with nobody to take over loses its executions, whose slots come back once", async () => {
    const one = await cluster.open();
    cluster.invocations.catalog.add("f", { maxRetries: 1, maxConcurrency: 1 });
    const { ids, executions } = await startRunning("f", 1);
    const stale = executions[0]?.worker;
    const wake = one.pause();
    stale?.disconnect();
    cluster.invocations.clock.forward(LIMITS.leaseDurationMs + 1);
    await becomes(cluster.invocations, ids[0] ?? "", { status: Status.PENDING, numFailedAttempts: 1 });
    stale?.connect(); // to nobody
    wake();
    await vi.waitFor(() => expect(stale?.exists).toBe(false), WAIT);
    const [again] = await running(1);
    again?.return(1);
    await becomes(cluster.invocations, ids[0] ?? "", {
      status: Status.SUCCEEDED,
      numFailedAttempts: 1,
      terminated: true,
    });
  });
});

describe("a scheduler that is stopped", () => {
  it("gives back what it had placed in a worker and not told it, and that was no attempt", async () => {
    const client = cluster.invocations.catalog.client();
    const catalog = { ...client, getCode: () => new Promise<never>(() => {}) };
    const one = await cluster.open({ catalog, spareWorkers: 1 });
    cluster.invocations.catalog.add("f");
    await vi.waitFor(() => expect([...cluster.engine.workers.values()]).toHaveLength(1), WAIT);
    const id = await cluster.invocations.start("f");
    await vi.waitFor(async () => {
      const { workers } = await one.service.operators.listWorkers({}, {} as never);
      expect(workers?.flatMap(({ executionIds }) => executionIds)).toHaveLength(1);
    }, WAIT);
    await one.stop();
    await holds(one.id, []);
    await cluster.open();
    const [execution] = await running(1);
    execution?.return(1);
    await succeedOnce([id]);
  });
});

describe("a worker that comes with what is not current any more", () => {
  it("is not taken over", async () => {
    const one = await cluster.open();
    cluster.invocations.catalog.add("f");
    const { ids, executions } = await startRunning("f", 1);
    one.kill();
    executions[0]?.worker.disconnect();
    cluster.invocations.clock.forward(LIMITS.leaseDurationMs + 1);
    await becomes(cluster.invocations, ids[0] ?? "", { status: Status.FAILED });
    await cluster.open();
    executions[0]?.worker.connect();
    executions[0]?.return("late");
    await forwardUntil(() => expect(executions[0]?.worker.exists).toBe(false));
    expect(await cluster.invocations.get(ids[0] ?? "")).toMatchObject({ status: Status.FAILED, numFailedAttempts: 1 });
  });

  it("is stopped although it has others that are current", async () => {
    const one = await cluster.open();
    cluster.invocations.catalog.add("warm", WARM);
    const { ids, executions } = await startRunning("warm", 2);
    const { leases } = await cluster.invocations.dispatch.listLeases({ schedulerId: one.id });
    one.kill();
    for (const { worker } of executions) worker.disconnect();
    const { ref: _, ...threw } = reports.threw({ ref: undefined }, { released: true });
    await cluster.invocations.report({ ...threw, ref: leases[0]?.ref as never });
    await cluster.open({ maxWorkers: 0 });
    executions[0]?.worker.connect();
    await vi.waitFor(() => expect(executions[0]?.worker.exists).toBe(false), WAIT);
    for (const id of ids) await becomes(cluster.invocations, id, { status: Status.FAILED, terminated: true });
  });
});

it("a worker that its scheduler has again, without having been told, is not stopped", async () => {
  const { dispatch } = cluster.invocations;
  const real = { ...dispatch };
  let isReporting = false;
  const [reporting, adopting] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const refusals: string[] = [];
  dispatch.reportExecutions = async (request, options) => {
    isReporting = request.reports?.some(({ event }) => event?.$case === "ended") === true;
    if (isReporting) await reporting.promise;
    const answer = await real.reportExecutions(request, options);
    for (const { reason = "" } of answer.refusals ?? []) refusals.push(reason);
    return answer;
  };
  let adoptions = 0;
  dispatch.adoptExecutions = async (request, options) => {
    adoptions += 1;
    const time = adoptions;
    const answer = await real.adoptExecutions(request, options);
    if (time === 1) await adopting.promise;
    if (time === 2) throw new Refusal("Unavailable", "the answer is lost");
    return answer;
  };
  const one = await cluster.open();
  await cluster.open({ maxWorkers: 0 });
  cluster.invocations.catalog.add("f");
  const { ids, executions } = await startRunning("f", 1);
  const [execution = expect.fail()] = executions;
  const { worker } = execution;
  execution.return(1);
  await vi.waitFor(() => expect(isReporting).toBe(true), WAIT);
  for (const epoch of [2, 3]) {
    // First to the other, which is answered late, and back to the first, whose answer is lost.
    worker.disconnect();
    worker.connect();
    await vi.waitFor(async () => {
      const row = await cluster.invocations.db.read((tx) => tx.get("SELECT epoch FROM invocations"));
      expect(row).toEqual({ epoch });
    }, WAIT);
  }
  worker.disconnect();
  await holds(one.id, [3]);
  reporting.resolve();
  await vi.waitFor(() => expect(refusals).toEqual(["ExecutionIsNotCurrent"]), WAIT);
  for (let turn = 0; turn < 200; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(isKilled(execution)).toBe(false);
  worker.connect();
  adopting.resolve();
  await succeedOnce(ids);
});

it("a worker that lost only its connection goes on where it comes to, though its scheduler lives", async () => {
  const [one, other] = [await cluster.open(), await cluster.open({ maxWorkers: 0 })];
  cluster.invocations.catalog.add("f", { maxConcurrency: 6 });
  const { ids, executions } = await startRunning("f", 6);
  for (let round = 0; round < 5; round++) {
    for (const { worker } of executions) {
      worker.disconnect();
      worker.connect();
    }
    await vi.waitFor(async () => {
      const held = [one, other].map(({ id }) => cluster.invocations.dispatch.listLeases({ schedulerId: id }));
      const counts = (await Promise.all(held)).map(({ leases }) => leases.length);
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(6);
    }, WAIT);
  }
  for (const execution of executions) execution.return(1);
  await succeedOnce(ids);
  await vi.waitFor(() => expect(cluster.engine.workers.size).toBe(0), WAIT);
});
