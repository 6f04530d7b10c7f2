/** Workers that say that they end: they take down what they run, and nothing else. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Status } from "../../../gen/multinode/invocation/v1/invocation.pb.js";
import { WorkerState } from "../../../gen/multinode/scheduler/v1/scheduler_service.pb.js";
import type { FakeExecution, FakeWorker } from "../runtime/fake.js";
import { openTestScheduler } from "../test_scheduler.js";

const WAIT = { timeout: 5_000, interval: 5 };
const WARM = { maxInvocationsPerWorker: 0 };
let test: Awaited<ReturnType<typeof openTestScheduler>>;

beforeEach(async () => {
  test = await openTestScheduler();
});
afterEach(() => test.close());

async function one(): Promise<FakeExecution> {
  const [execution] = await test.running(1);
  if (execution === undefined) throw new Error("nothing runs");
  return execution;
}

/** Waits until the scheduler takes a worker for one that is so. */
async function is({ id }: FakeWorker, state: WorkerState, executions: number): Promise<void> {
  await vi.waitFor(async () => {
    const { workers = [] } = await test.service.operators.listWorkers({}, {} as never);
    const worker = workers.find(({ workerId }) => workerId === id);
    expect([worker?.state, worker?.executionIds?.length]).toEqual([state, executions]);
  }, WAIT);
}

const FAILED = { status: Status.FAILED, error: "Error: bad", terminated: true };
const INNOCENT = { status: Status.SUCCEEDED, numFailedAttempts: 0, terminated: true };

describe("a worker that says that it ends", () => {
  it("is given nothing more, and its slot is free when it is gone", async () => {
    test.catalog.add("f", { ...WARM, maxConcurrency: 1 });
    const ids = [await test.start("f"), await test.start("f")] as const;
    const { worker, ...bad } = await one();
    const gone = Promise.withResolvers<void>();
    worker.stopGate = gone.promise;
    worker.leave();
    worker.ended(bad.id, { kind: "threw", error: "Error: bad" }, false);
    await vi.waitFor(() => expect(worker.isStopping).toBe(true), WAIT);
    expect(await test.get(ids[0])).toMatchObject({ ...FAILED, terminated: false });
    expect(await test.get(ids[1])).toMatchObject({ status: Status.PENDING, executions: [] });
    gone.resolve();
    const next = await one();
    expect(next.worker.id).not.toBe(worker.id);
    next.return(1);
    await test.becomes(ids[1], INNOCENT);
    await test.becomes(ids[0], FAILED);
  });

  it("takes down what has begun; what has not is placed again, as the same attempt", async () => {
    test.catalog.add("f", { ...WARM, workerConcurrency: 2 });
    const bad = await test.start("f");
    const { worker } = await one();
    await test.becomes(bad, { status: Status.RUNNING });
    worker.isDeaf = true;
    const innocent = await test.start("f");
    await is(worker, WorkerState.ACTIVE, 2);
    worker.leave();
    await is(worker, WorkerState.DRAINING, 2);
    worker.die("exited with code 1");
    const again = await one();
    expect(again.assigned).toMatchObject({ invocationId: innocent, attemptNumber: 1 });
    again.return(1);
    const { executions } = await test.becomes(innocent, INNOCENT);
    expect(executions).toHaveLength(1);
    await test.becomes(bad, { ...FAILED, error: "WorkerLostError: the worker exited with code 1" });
  });
});

describe("a worker that is gone without a word", () => {
  it("fails what it may have begun", async () => {
    test.catalog.add("f", { ...WARM, workerConcurrency: 2 });
    await test.start("f");
    const { worker } = await one();
    worker.isDeaf = true;
    const sent = await test.start("f");
    await is(worker, WorkerState.ACTIVE, 2);
    worker.die("was killed by SIGKILL");
    await test.becomes(sent, { ...FAILED, error: "WorkerLostError: the worker was killed by SIGKILL" });
  });

  it("has not begun what it was given when its connection had ended: that is placed again", async () => {
    test.catalog.add("f", { ...WARM, maxConcurrency: 1 });
    await test.start("f");
    const first = await one();
    first.return(1);
    await vi.waitFor(() => expect(first.worker.owesEnds).toBe(false), WAIT);
    first.worker.disconnect();
    await vi.waitFor(() => expect(first.worker.isAdrift).toBe(true), WAIT);
    const innocent = await test.start("f");
    await is(first.worker, WorkerState.ACTIVE, 1);
    first.worker.die("was killed by SIGKILL", true);
    (await one()).return(2);
    await test.becomes(innocent, INNOCENT);
  });
});
