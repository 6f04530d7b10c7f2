/** Schedulers whose invocation service, lease or process fails. */
import { ClientError, Status as RpcStatus } from "nice-grpc";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Status } from "../../gen/multinode/invocation/v1/invocation.pb.js";
import { openTestInvocations, reports, type TestInvocations } from "../invocation/test_invocation.js";
import { Refusal } from "../platform/errors.js";
import type { FakeExecution } from "./runtime/fake.js";
import {
  becomes,
  createTestScheduler,
  faultyDispatch,
  running,
  type TestScheduler,
  type TestSchedulerOptions,
} from "./test_scheduler.js";

const WAIT = { timeout: 8_000, interval: 5 };
const LONG_WAIT = { timeout: 20_000, interval: 20 };
const UNAVAILABLE = new Refusal("Unavailable", "not now");
let test: TestInvocations;
const schedulers: TestScheduler[] = [];

beforeEach(async () => {
  test = await openTestInvocations();
  test.service.start();
});
afterEach(async () => {
  await Promise.all(schedulers.splice(0).map((scheduler) => scheduler.stop()));
  await test.close();
});

async function startScheduler(options: TestSchedulerOptions = {}): Promise<TestScheduler> {
  const scheduler = createTestScheduler(test, options);
  schedulers.push(scheduler);
  await scheduler.service.start();
  return scheduler;
}

async function one(scheduler: TestScheduler): Promise<FakeExecution> {
  const [execution] = await running(scheduler, 1);
  if (execution === undefined) throw new Error("nothing runs");
  return execution;
}

/** An invocation that a scheduler leased, which did not hear of it. */
async function leasedToNobody(): Promise<{ id: string; scheduler: TestScheduler }> {
  const faults = faultyDispatch(test.dispatch);
  const scheduler = await startScheduler({ dispatch: faults.client });
  test.catalog.add("f");
  let isLost = false;
  faults.after = async (method) => {
    if (method !== "streamLeases" || isLost) return;
    isLost = true;
    throw UNAVAILABLE;
  };
  const id = await test.start("f");
  await vi.waitFor(() => expect(isLost).toBe(true), WAIT);
  return { id, scheduler };
}

async function queueOf(functionName: string): Promise<unknown> {
  return await test.db.read((tx) =>
    tx.get(
      "SELECT used, queued FROM queues WHERE project_id = ? AND function_name = ?",
      test.catalog.projectId,
      functionName,
    ),
  );
}

describe("an invocation service that does not answer", () => {
  it("costs no attempt where it leased and its answer was lost", async () => {
    const { id, scheduler } = await leasedToNobody();
    await vi.waitFor(() => expect(scheduler.runtime.executions).toHaveLength(1), LONG_WAIT);
    (await one(scheduler)).return("done");
    await becomes(test, id, { status: Status.SUCCEEDED, terminated: true });
    expect(await test.get(id)).toMatchObject({ numFailedAttempts: 0, executions: [{ attemptNumber: 1 }] });
    expect(await queueOf("f")).toEqual({ used: 0, queued: 0 });
  });

  it("leaves nothing behind where it leased, its answer was lost, and what it leased is cancelled", async () => {
    const { id, scheduler } = await leasedToNobody();
    await test.cancel(id);
    await vi.waitFor(async () => expect(await test.get(id)).toMatchObject({ status: Status.CANCELLED }), LONG_WAIT);
    expect(scheduler.runtime.executions).toHaveLength(0);
    expect(await queueOf("f")).toEqual({ used: 0, queued: 0 });
  });

  it("costs no lease and no report", async () => {
    const faults = faultyDispatch(test.dispatch);
    const scheduler = await startScheduler({ dispatch: faults.client });
    test.catalog.add("f");
    let left = 3;
    faults.before = async () => {
      if (left-- > 0) throw UNAVAILABLE;
    };
    const id = await test.start("f");
    const execution = await one(scheduler);
    left = 2;
    execution.return(1);
    await becomes(test, id, { status: Status.SUCCEEDED, numFailedAttempts: 0, terminated: true });
  });

  it("whose answer to a report is lost is told again, to no harm", async () => {
    const faults = faultyDispatch(test.dispatch);
    const scheduler = await startScheduler({ dispatch: faults.client });
    test.catalog.add("f", { maxRetries: 5, maxConcurrency: 1 });
    let answers = 0;
    faults.after = async (method) => {
      if (method === "reportExecutions" && ++answers % 2 === 1) throw UNAVAILABLE;
    };
    const [id, other] = [await test.start("f"), await test.start("f")];
    for (let attempt = 1; attempt <= 3; attempt++) {
      const execution = await vi.waitFor(() => {
        const found = scheduler.runtime.executions.find(
          ({ assigned }) => assigned.attemptNumber === attempt && assigned.invocationId === id,
        );
        if (found === undefined) throw new Error(`attempt ${attempt} does not run`);
        expect(scheduler.runtime.executions).toHaveLength(1); // the slot of the function
        return found;
      }, WAIT);
      if (attempt < 3) execution.worker.die("was killed");
      else execution.return(1);
      if (attempt === 3) break;
      // The other invocation may go first: it is older than the retry.
      const next = await one(scheduler).catch(() => undefined);
      if (next?.assigned.invocationId === other) next.return(1);
    }
    await becomes(test, id, { status: Status.SUCCEEDED, numFailedAttempts: 2, terminated: true });
    faults.after = async () => {};
    await vi.waitFor(async () => expect(await queueOf("f")).toEqual({ used: 0, queued: 0 }), WAIT);
  });

  it.each([
    ["renewals hang", "renewLeases", async () => await Promise.withResolvers<never>().promise],
    ["the question for interruptions fails", "listInterruptions", () => Promise.reject(UNAVAILABLE)],
  ])("delays no interruption where %s", async (_, broken, fault) => {
    const faults = faultyDispatch(test.dispatch);
    const scheduler = await startScheduler({ dispatch: faults.client });
    test.catalog.add("f");
    const id = await test.start("f");
    const execution = await one(scheduler);
    faults.before = async (method) => {
      if (method === broken) await fault();
    };
    await test.cancel(id);
    // Less than the time after which it would renew anyway.
    await vi.waitFor(() => expect(execution.interruptions).toHaveLength(1), { ...WAIT, timeout: 4_000 });
    execution.throw("Error: told");
    await becomes(test, id, { status: Status.CANCELLED, terminated: true });
  });

  it("of before, which has no streams, is asked for single answers", async () => {
    const unknown = new ClientError("/dispatch/StreamLeases", RpcStatus.UNIMPLEMENTED, "no such method");
    const streamLeases = () => {
      throw unknown;
    };
    const scheduler = await startScheduler({ dispatch: { ...test.dispatch, streamLeases } });
    test.catalog.add("f");
    const ids = [await test.start("f"), await test.start("f")];
    for (const execution of await running(scheduler, 2)) execution.return(1);
    for (const id of ids) await becomes(test, id, { status: Status.SUCCEEDED, numFailedAttempts: 0 });
  });

  it("where there is another replica leaves no room unused", async () => {
    const gone = faultyDispatch(test.dispatch);
    gone.before = () => Promise.reject(UNAVAILABLE);
    const scheduler = await startScheduler({ lessors: [gone.client, test.dispatch], maxWorkers: 4 });
    test.catalog.add("f");
    for (let count = 0; count < 4; count += 1) await test.start("f");
    await running(scheduler, 4);
  });

  it("and that leased what has ended is not needed for the report, where there is another", async () => {
    const replica = faultyDispatch(test.dispatch);
    const scheduler = await startScheduler({ lessors: [replica.client], dispatch: test.dispatch });
    test.catalog.add("f");
    const ids = [await test.start("f"), await test.start("f")];
    const [first, second] = await running(scheduler, 2);
    let asked = 0;
    replica.before = async (method) => {
      if (method !== "reportExecutions") return;
      asked += 1;
      throw UNAVAILABLE;
    };
    for (const [index, execution] of [first, second].entries()) {
      execution?.return(1);
      await becomes(test, ids[index] ?? "", { status: Status.SUCCEEDED, terminated: true });
    }
    expect(asked).toBe(1);
  });

  it("for want of room does not keep a scheduler from starting, which begins nothing until there is some", async () => {
    const faults = faultyDispatch(test.dispatch);
    let isFull = true;
    faults.before = async (method) => {
      if (method === "renewLeases" && isFull) throw new Refusal("ResourceExhausted", "the disk is full");
    };
    const scheduler = await startScheduler({ dispatch: faults.client });
    test.catalog.add("f");
    await test.start("f");
    expect(scheduler.runtime.executions).toEqual([]);
    isFull = false;
    await one(scheduler);
  });

  it("does not keep a scheduler from starting later", async () => {
    const faults = faultyDispatch(test.dispatch);
    let calls = 0;
    faults.before = async () => {
      calls += 1;
      if (calls <= 2) throw UNAVAILABLE;
    };
    const scheduler = await startScheduler({ dispatch: faults.client });
    test.catalog.add("f");
    await test.start("f");
    (await one(scheduler)).return(1);
  });
});

describe("a scheduler that was ended", () => {
  it("by force finds its leases at its next start and gives them back", async () => {
    const schedulerId = test.ids.next("sch");
    test.catalog.add("f", { maxRetries: 1, maxConcurrency: 2 });
    const [lost, done] = [await test.start("f"), await test.start("f")];
    const [running, ended] = await test.lease(schedulerId);
    if (running === undefined || ended === undefined) throw new Error("two were to be leased");
    await test.report(reports.started(running), reports.returned(ended, 1));
    const scheduler = await startScheduler({ schedulerId });
    await becomes(test, done, { status: Status.SUCCEEDED, terminated: true });
    const again = await one(scheduler);
    expect(again.assigned).toMatchObject({ invocationId: lost, attemptNumber: 2 });
    again.return(2);
    await becomes(test, lost, { status: Status.SUCCEEDED, numFailedAttempts: 1, terminated: true });
  });

  it("in peace gives back what no worker was given, and that was no attempt", async () => {
    const scheduler = createTestScheduler(test, { spareWorkers: 0, maxWorkers: 1 });
    scheduler.runtime.boot = "hangs";
    await scheduler.service.start();
    test.catalog.add("f");
    const id = await test.start("f");
    await vi.waitFor(async () => expect(await queueOf("f")).toEqual({ used: 1, queued: 0 }), WAIT);
    await scheduler.stop();
    expect(await queueOf("f")).toEqual({ used: 0, queued: 1 });
    const again = await startScheduler();
    (await one(again)).return(1);
    await becomes(test, id, { status: Status.SUCCEEDED, numFailedAttempts: 0 });
    expect((await test.get(id)).executions).toMatchObject([{ attemptNumber: 1 }]);
  });

  it("in peace gives that back before its runtime has ended all workers, which may take longer than there is time", async () => {
    const scheduler = createTestScheduler(test, { spareWorkers: 0, maxWorkers: 1 });
    scheduler.runtime.boot = "hangs";
    const closed = Promise.withResolvers<void>();
    const close = scheduler.runtime.close.bind(scheduler.runtime);
    scheduler.runtime.close = async () => {
      await closed.promise;
      await close();
    };
    await scheduler.service.start();
    test.catalog.add("f");
    await test.start("f");
    await vi.waitFor(async () => expect(await queueOf("f")).toEqual({ used: 1, queued: 0 }), WAIT);
    const stopped = scheduler.stop();
    await vi.waitFor(async () => expect(await queueOf("f")).toEqual({ used: 0, queued: 1 }), WAIT);
    closed.resolve();
    await stopped;
  });

  it("in peace gives back what was being leased in that moment, and that was no attempt", async () => {
    const travelled = Promise.withResolvers<void>();
    const streamLeases: typeof test.dispatch.streamLeases = async function* (request, options) {
      for await (const leased of test.dispatch.streamLeases(request, options)) {
        await travelled.promise;
        options?.signal?.throwIfAborted(); // what nobody waits for is lost on its way
        yield leased;
      }
    };
    const scheduler = await startScheduler({ dispatch: { ...test.dispatch, streamLeases } });
    test.catalog.add("f");
    const id = await test.start("f");
    await vi.waitFor(async () => expect(await queueOf("f")).toEqual({ used: 1, queued: 0 }), WAIT);
    const stopped = scheduler.stop();
    travelled.resolve();
    await stopped;
    expect(await queueOf("f")).toEqual({ used: 0, queued: 1 });
    (await one(await startScheduler({ schedulerId: scheduler.id }))).return(1);
    await becomes(test, id, { status: Status.SUCCEEDED, numFailedAttempts: 0 });
    expect((await test.get(id)).executions).toMatchObject([{ attemptNumber: 1 }]);
  });

  it("in peace has ended its workers and reported all of it", async () => {
    const scheduler = createTestScheduler(test, { spareWorkers: 2 });
    await scheduler.service.start();
    test.catalog.add("f", { maxRetries: 1 });
    const ids = [await test.start("f"), await test.start("f")];
    const [first] = await running(scheduler, 2);
    first?.return(1);
    await becomes(test, first?.assigned.invocationId ?? "", { status: Status.SUCCEEDED });
    await scheduler.stop();
    expect(scheduler.runtime.workers.size).toBe(0);
    const states = await Promise.all(ids.map((id) => test.get(id)));
    expect(new Set(states.map(({ status }) => status))).toEqual(new Set([Status.PENDING, Status.SUCCEEDED]));
    expect(await queueOf("f")).toEqual({ used: 0, queued: 1 });
    const error = "WorkerLostError: the worker was ended, since its server was stopped";
    expect(states.map((state) => state.error)).toContain(error);
  });
});

describe("a lease that ran out", () => {
  it("frees the slots, and the workers that held them are stopped when the scheduler is back", async () => {
    const faults = faultyDispatch(test.dispatch);
    // It has no room for more, so that it waits for nothing while it is paused.
    const paused = await startScheduler({ dispatch: faults.client, maxWorkers: 1 });
    test.catalog.add("f", { maxRetries: 1, maxConcurrency: 1 });
    const id = await test.start("f");
    const stale = await one(paused);
    await becomes(test, id, { status: Status.RUNNING });
    // It hears and says nothing for longer than its lease.
    const pause = Promise.withResolvers<void>();
    faults.before = () => pause.promise;
    const other = await startScheduler();
    test.clock.forward(30_001);
    const current = await one(other);
    expect(current.assigned).toMatchObject({ invocationId: id, attemptNumber: 2 });
    faults.before = async () => {};
    pause.resolve();
    test.bus.publish({ $case: "interruptions", value: { schedulerIds: [paused.id] } }); // it renews now
    await vi.waitFor(() => expect(stale.worker.exists).toBe(false), WAIT);
    stale.return("stale");
    current.return("new");
    await becomes(test, id, {
      status: Status.SUCCEEDED,
      numFailedAttempts: 1,
      terminated: true,
      result: { data: json('"new"') },
    });
    expect(await queueOf("f")).toEqual({ used: 0, queued: 0 });
  });

  it("leaves alone what was leased since", async () => {
    const scheduler = await startScheduler();
    test.catalog.add("f", { maxConcurrency: 5 });
    const id = await test.start("f");
    (await one(scheduler)).return(1);
    await becomes(test, id, { terminated: true });
    for (let round = 0; round < 5; round++) {
      const starting = test.start("f");
      test.bus.publish({ $case: "interruptions", value: { schedulerIds: [scheduler.id] } });
      const next = await starting;
      await becomes(test, next, { status: Status.RUNNING });
      for (const execution of scheduler.runtime.executions) execution.return(1);
      await becomes(test, next, { status: Status.SUCCEEDED, numFailedAttempts: 0 });
    }
  });
});

describe("two schedulers on one store", () => {
  it("never exceed the concurrency of a function together", async () => {
    test.catalog.add("f", { maxConcurrency: 3 });
    const live = new Set<FakeExecution>();
    let most = 0;
    const run = (execution: FakeExecution) => {
      live.add(execution);
      most = Math.max(most, [...live].filter(({ worker }) => worker.exists).length);
      setImmediate(() => execution.return(1));
    };
    const both = await Promise.all([startScheduler({ run, spareWorkers: 1 }), startScheduler({ run })]);
    const ids = await Promise.all(Array.from({ length: 40 }, () => test.start("f")));
    for (const id of ids) await becomes(test, id, { status: Status.SUCCEEDED, terminated: true, numFailedAttempts: 0 });
    expect(most).toBeLessThanOrEqual(3);
    expect(most).toBeGreaterThan(1);
    expect(both.every(({ runtime }) => runtime.executions.length === 0)).toBe(true);
  });
});

describe("functions that keep workers", () => {
  it("have them, bound and idle, and lose them with their version", async () => {
    const scheduler = await startScheduler();
    test.catalog.add("f", { maxInvocationsPerWorker: 0, minWorkers: 2, idleTimeoutMs: 1 });
    test.bus.publish({ $case: "project", value: { projectName: "project" } });
    const bound = () => [...scheduler.runtime.workers.values()].filter(({ resources }) => resources !== undefined);
    await vi.waitFor(() => expect(bound()).toHaveLength(2), WAIT);
    const kept = bound();
    const id = await test.start("f");
    (await one(scheduler)).return(1);
    await becomes(test, id, { status: Status.SUCCEEDED });
    expect(bound()).toEqual(kept);
    test.catalog.add("f", { maxInvocationsPerWorker: 0 });
    test.bus.publish({ $case: "project", value: { projectName: "project" } });
    await vi.waitFor(() => expect(bound()).toHaveLength(0), WAIT);
  });
});

const json = (text: string) => new TextEncoder().encode(text);
