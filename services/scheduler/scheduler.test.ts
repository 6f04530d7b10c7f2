/** A scheduler with fake workers on a real invocation service. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Outcome, Status } from "../../gen/multinode/invocation/v1/invocation.pb.js";
import { WorkerState } from "../../gen/multinode/scheduler/v1/scheduler_service.pb.js";
import { openTestScheduler } from "./test_scheduler.js";

const WAIT = { timeout: 5_000, interval: 5 };
const WARM = { maxInvocationsPerWorker: 0 };
let test: Awaited<ReturnType<typeof openTestScheduler>>;

beforeEach(async () => {
  test = await openTestScheduler();
});
afterEach(() => test.close());

async function one() {
  const [execution] = await test.running(1);
  if (execution === undefined) throw new Error("nothing runs");
  return execution;
}

describe("a fresh worker", () => {
  it("runs one execution, with what it needs, and is gone", async () => {
    test.catalog.add("f", { cpu: 0.5, memoryBytes: 1 << 26 });
    const id = await test.start("f");
    const execution = await one();
    expect(execution.assigned).toMatchObject({ invocationId: id, attemptNumber: 1, parentInvocationId: "" });
    expect(execution.worker.resources).toEqual({ cpu: 0.5, memoryBytes: 1 << 26 });
    expect(execution.worker.commands.map(({ $case }) => $case)).toEqual(["welcome", "prepare", "bind", "assign"]);
    await test.becomes(id, { status: Status.RUNNING, terminated: false });
    execution.return(42);
    await test.becomes(id, { status: Status.SUCCEEDED, terminated: true });
    expect(execution.worker.exists).toBe(false);
    expect(test.runtime.history).toHaveLength(1);
  });

  it("is given code and execution when it has its limits, and can fetch the code before", async () => {
    test.catalog.add("f");
    const limited = Promise.withResolvers<void>();
    const limit = test.runtime.limit.bind(test.runtime);
    test.runtime.limit = async (...args) => {
      await limited.promise;
      await limit.apply(test.runtime, args);
    };
    await test.start("f");
    const said = () => test.runtime.history.flatMap(({ commands }) => commands.map(({ $case }) => $case));
    await vi.waitFor(() => expect(said()).toContain("prepare"), WAIT);
    await new Promise((resolve) => setImmediate(resolve));
    expect(said()).toEqual(["welcome", "prepare"]);
    limited.resolve();
    (await one()).return(1);
    expect(said().slice(0, 4)).toEqual(["welcome", "prepare", "bind", "assign"]);
  });

  it("is stopped only after its end is stored, and holds its slot until it is gone", async () => {
    test.catalog.add("f", { maxConcurrency: 1 });
    const stop = Promise.withResolvers<void>();
    test.runtime.stopGate = stop.promise;
    const [id, next] = [await test.start("f"), await test.start("f")];
    const execution = await one();
    execution.return(1);
    await vi.waitFor(() => expect(execution.worker.isStopping).toBe(true), WAIT);
    expect(await test.get(id)).toMatchObject({ status: Status.SUCCEEDED, terminated: false });
    expect(execution.worker.owesEnds).toBe(false);
    expect(await test.get(next)).toMatchObject({ status: Status.PENDING });
    expect(test.runtime.executions).toEqual([]);
    test.runtime.stopGate = undefined;
    stop.resolve();
    await test.becomes(id, { terminated: true });
    (await one()).return(2);
    await test.becomes(next, { status: Status.SUCCEEDED, terminated: true });
  });

  it("keeps what its process printed, though it comes after the end", async () => {
    test.catalog.add("f");
    const stop = Promise.withResolvers<void>();
    test.runtime.stopGate = stop.promise;
    const id = await test.start("f");
    const execution = await one();
    execution.return(1);
    await vi.waitFor(() => expect(execution.worker.isStopping).toBe(true), WAIT);
    const append = vi.spyOn(test.dispatch, "appendLogs");
    test.runtime.print(execution.worker.id, "late");
    await vi.waitFor(() => expect(append).toHaveBeenCalled(), WAIT);
    const { executionId } = execution.assigned;
    expect(append.mock.calls[0]?.[0].lines).toMatchObject([{ executionId, text: "late" }]);
    stop.resolve();
    await test.becomes(id, { terminated: true });
  });

  it("yields, and each value is seen before the end", async () => {
    test.catalog.add("f");
    const id = await test.start("f");
    const execution = await one();
    for (const value of [1, 2, 3]) {
      execution.yield(value);
      await test.becomes(id, { status: Status.RUNNING, result: { data: new TextEncoder().encode(String(value)) } });
    }
    for (const value of [4, 5, 6]) execution.yield(value);
    execution.return();
    await test.becomes(id, { status: Status.SUCCEEDED, terminated: true });
  });
});

describe("a warm worker", () => {
  it("is used again, and gives its slot back while it stays", async () => {
    test.catalog.add("f", { ...WARM, maxConcurrency: 1, workerConcurrency: 3 });
    for (let i = 0; i < 3; i++) {
      const id = await test.start("f");
      (await one()).return(i);
      await test.becomes(id, { status: Status.SUCCEEDED, terminated: true });
    }
    expect(test.runtime.history).toHaveLength(1);
    expect(test.runtime.workers.size).toBe(1);
  });

  it("runs side by side as many as it may", async () => {
    test.catalog.add("f", { ...WARM, workerConcurrency: 3 });
    for (let i = 0; i < 5; i++) await test.start("f");
    const executions = await test.running(5);
    expect(new Set(executions.map(({ worker }) => worker.id)).size).toBe(2);
    for (const execution of executions) execution.return();
    await test.running(0);
  });

  it("ends after as many as it may run", async () => {
    test.catalog.add("f", { maxInvocationsPerWorker: 2 });
    for (let i = 0; i < 4; i++) {
      const id = await test.start("f");
      (await one()).return(i);
      await test.becomes(id, { terminated: true });
    }
    expect(test.runtime.history).toHaveLength(2);
  });

  it("that is used up gives back the slots of those that end before its last one", async () => {
    test.catalog.add("f", { maxInvocationsPerWorker: 2, workerConcurrency: 2, maxConcurrency: 2 });
    const [first, second, next] = [await test.start("f"), await test.start("f"), await test.start("f")];
    const both = await test.running(2);
    expect(both[0]?.worker).toBe(both[1]?.worker);
    both[0]?.return(1);
    await test.becomes(first, { status: Status.SUCCEEDED, terminated: true });
    const [still, other] = await test.running(2);
    expect(other?.assigned.invocationId).toBe(next);
    expect(other?.worker).not.toBe(still?.worker);
    const stop = Promise.withResolvers<void>();
    test.runtime.stopGate = stop.promise;
    still?.return(2);
    await test.becomes(second, { status: Status.SUCCEEDED, terminated: false });
    stop.resolve();
    await test.becomes(second, { terminated: true });
    other?.return(3);
    await test.becomes(next, { status: Status.SUCCEEDED, terminated: true });
  });

  it("gives way to a function that has none", async () => {
    test.catalog.add("f", WARM);
    test.catalog.add("g");
    for (let i = 0; i < 4; i++) await test.start("f");
    for (const execution of await test.running(4)) execution.return();
    await test.running(0);
    const id = await test.start("g");
    (await one()).return(1);
    await test.becomes(id, { status: Status.SUCCEEDED });
    expect(test.runtime.history.filter(({ exists }) => !exists).length).toBeLessThanOrEqual(2);
  });

  it("does not starve a function that has none, however busy it is", async () => {
    test.catalog.add("f", { ...WARM, workerConcurrency: 2, maxConcurrency: 100 });
    test.catalog.add("g");
    for (let i = 0; i < 40; i++) await test.start("f");
    await test.running(8);
    const id = await test.start("g");
    const isPlaced = async () => (await test.get(id)).status !== Status.PENDING;
    const giveUpAt = performance.now() + WAIT.timeout;
    for (let i = 0; !(await isPlaced()) && performance.now() < giveUpAt; i++) {
      const { executions } = test.runtime;
      executions[i % executions.length]?.return();
      await test.start("f");
    }
    await test.becomes(id, { status: Status.RUNNING });
  });
});

describe("a worker that is lost", () => {
  it("is a failed attempt, and its slot is free", async () => {
    test.catalog.add("f", { maxRetries: 1, maxConcurrency: 1 });
    const id = await test.start("f");
    const execution = await one();
    await test.becomes(id, { status: Status.RUNNING });
    execution.worker.die("was killed by SIGSEGV");
    (await one()).return(1);
    const { executions } = await test.becomes(id, { status: Status.SUCCEEDED, numFailedAttempts: 1, terminated: true });
    expect(executions).toMatchObject([
      { outcome: Outcome.FAILED, error: "WorkerLostError: the worker was killed by SIGSEGV", terminated: true },
      { outcome: Outcome.SUCCEEDED, terminated: true },
    ]);
  });

  it("fails all that it ran", async () => {
    test.catalog.add("f", { ...WARM, workerConcurrency: 3 });
    const ids = [await test.start("f"), await test.start("f"), await test.start("f")];
    (await test.running(3))[0]?.worker.die("ended", true);
    for (const id of ids)
      await test.becomes(id, { status: Status.FAILED, error: expect.stringMatching(/^OutOfMemoryError/) });
  });

  it("after its end was stored changes nothing but to give back its slot", async () => {
    test.catalog.add("f", { maxRetries: 1 });
    test.runtime.stopGate = new Promise(() => {});
    const id = await test.start("f");
    const execution = await one();
    execution.return(1);
    await vi.waitFor(() => expect(execution.worker.isStopping).toBe(true), WAIT);
    execution.worker.die("was killed");
    await test.becomes(id, { status: Status.SUCCEEDED, numFailedAttempts: 0, terminated: true });
    test.runtime.stopGate = undefined;
  });
});

describe("provisioning that fails", () => {
  it("is a failed attempt", async () => {
    test.catalog.add("f", { maxRetries: 50 });
    test.runtime.startError = new Error("no more processes");
    const id = await test.start("f");
    await test.becomes(id, {
      status: Status.PENDING,
      error: expect.stringMatching(/^ProvisioningError: .*no more processes/),
    });
    test.runtime.startError = undefined;
    (await one()).return(1);
    await test.becomes(id, { status: Status.SUCCEEDED });
    const { numFailedAttempts, executions } = await test.get(id);
    expect(numFailedAttempts).toBe(executions.length - 1);
  });

  it("is what a worker does that ends before it connects", async () => {
    test.catalog.add("f");
    test.runtime.boot = "ends";
    const id = await test.start("f");
    await test.becomes(id, {
      status: Status.FAILED,
      error: "ProvisioningError: the worker exited with code 1",
      terminated: true,
    });
    expect((await test.get(id)).executions).toMatchObject([{ startTimeMs: undefined, outcome: Outcome.FAILED }]);
  });
});

describe("an interruption", () => {
  it("reaches the execution, which ends by itself", async () => {
    test.catalog.add("f");
    const id = await test.start("f");
    const execution = await one();
    await test.becomes(id, { status: Status.RUNNING });
    await test.cancel(id);
    await vi.waitFor(() => expect(execution.interruptions).toEqual([1]), WAIT);
    expect(await test.get(id)).toMatchObject({ status: Status.CANCELLING });
    execution.throw("InvocationCancelledError: cancelled");
    await test.becomes(id, { status: Status.CANCELLED, terminated: true, numFailedAttempts: 0 });
    expect((await test.get(id)).executions).toMatchObject([{ outcome: Outcome.ABORTED }]);
  });

  it("before a worker is there ends it without one", async () => {
    test.catalog.add("f");
    test.runtime.boot = "hangs";
    const id = await test.start("f");
    await vi.waitFor(() => expect(test.runtime.history).toHaveLength(1), WAIT);
    await test.cancel(id);
    await test.becomes(id, { status: Status.CANCELLED, terminated: true, numFailedAttempts: 0 });
    expect(test.runtime.history[0]?.commands).toEqual([]);
  });

  it("is followed by force when the grace period is over", async () => {
    test.catalog.add("f", { gracePeriodMs: 30 });
    const id = await test.start("f");
    const execution = await one();
    await test.cancel(id);
    await test.becomes(id, { status: Status.CANCELLED, terminated: true, numFailedAttempts: 1 });
    expect(execution.worker.exists).toBe(false);
    expect((await test.get(id)).executions).toMatchObject([
      { outcome: Outcome.FAILED, error: expect.stringMatching(/^InvocationCancelledError: .*killed/) },
    ]);
  });

  it("of an execution that runs too long is a timeout", async () => {
    test.catalog.add("f", { timeoutMs: 30, gracePeriodMs: 30, maxRetries: 3 });
    const id = await test.start("f");
    await test.becomes(id, { status: Status.TIMED_OUT, terminated: true, numFailedAttempts: 1 });
    test.catalog.add("g", { timeoutMs: 30, gracePeriodMs: 60_000 });
    const other = await test.start("g");
    const execution = await one();
    await vi.waitFor(() => expect(execution.interruptions).toEqual([2]), WAIT);
    execution.throw("InvocationTimedOutError: too long");
    await test.becomes(other, { status: Status.TIMED_OUT, numFailedAttempts: 0 });
  });

  it("that comes while the connection is broken is told when it is mended", async () => {
    test.catalog.add("f");
    const id = await test.start("f");
    const execution = await one();
    await test.becomes(id, { status: Status.RUNNING });
    execution.worker.disconnect();
    await test.cancel(id);
    await test.becomes(id, { status: Status.CANCELLING });
    execution.worker.connect();
    await vi.waitFor(() => expect(execution.interruptions.length).toBeGreaterThan(0), WAIT);
  });
});

describe("a broken connection", () => {
  it("loses no end, which is acknowledged when it is stored", async () => {
    test.catalog.add("f");
    const id = await test.start("f");
    const execution = await one();
    execution.worker.disconnect();
    execution.return(7);
    expect(execution.worker.owesEnds).toBe(true);
    execution.worker.connect();
    await test.becomes(id, { status: Status.SUCCEEDED, terminated: true });
  });

  it("loses no execution that was on its way to the worker", async () => {
    test.catalog.add("f", { ...WARM, workerConcurrency: 2 });
    await test.start("f");
    const first = await one();
    first.worker.isDeaf = true;
    const id = await test.start("f");
    await vi.waitFor(async () => {
      const { workers = [] } = await test.service.operators.listWorkers({}, {} as never);
      expect(workers[0]?.executionIds).toHaveLength(2);
    }, WAIT);
    first.worker.disconnect();
    first.worker.isDeaf = false;
    first.worker.connect();
    const executions = await test.running(2);
    for (const execution of executions) execution.return(1);
    await test.becomes(id, { status: Status.SUCCEEDED });
    expect(test.runtime.history).toHaveLength(1);
  });

  it("during its code loses neither the code nor the execution", async () => {
    test.catalog.add("f");
    test.runtime.boot = "hangs";
    const id = await test.start("f");
    await vi.waitFor(() => expect(test.runtime.history).toHaveLength(1), WAIT);
    const [worker] = test.runtime.history;
    if (worker === undefined) throw new Error("no worker was started");
    worker.isDeaf = true;
    worker.connect();
    await vi.waitFor(async () => {
      const { workers = [] } = await test.service.operators.listWorkers({}, {} as never);
      expect(workers[0]?.executionIds).toHaveLength(1);
    }, WAIT);
    worker.disconnect();
    worker.isDeaf = false;
    worker.connect();
    (await one()).return(1);
    await test.becomes(id, { status: Status.SUCCEEDED, numFailedAttempts: 0 });
  });

  it("does not run an execution twice that the worker has", async () => {
    test.catalog.add("f");
    await test.start("f");
    const execution = await one();
    const { worker } = execution;
    for (let welcomes = 2; welcomes <= 4; welcomes++) {
      worker.disconnect();
      worker.connect();
      await vi.waitFor(
        () => expect(worker.commands.filter(({ $case }) => $case === "welcome")).toHaveLength(welcomes),
        WAIT,
      );
    }
    expect(execution.worker.running).toEqual([execution]);
    expect(execution.worker.commands.filter(({ $case }) => $case === "assign")).toHaveLength(1);
  });
});

describe("operators", () => {
  const list = async () => (await test.service.operators.listWorkers({}, {} as never)).workers ?? [];
  const drain = (workerId: string) => test.service.operators.drainWorker({ workerId }, {} as never);

  it("see the workers", async () => {
    test.catalog.add("f");
    await test.start("f");
    const execution = await one();
    expect(await list()).toMatchObject([
      {
        workerId: execution.worker.id,
        state: WorkerState.ACTIVE,
        runtime: "fake",
        runtimeRef: "fake 1",
        projectName: "project",
        functionName: "f",
        executionIds: [execution.id],
      },
    ]);
  });

  it("drain a worker, which finishes what it runs and takes nothing more", async () => {
    test.catalog.add("f", { ...WARM, workerConcurrency: 2 });
    const id = await test.start("f");
    const execution = await one();
    expect((await drain(execution.worker.id)).worker).toMatchObject({ state: WorkerState.DRAINING });
    await test.start("f");
    const [, other] = await test.running(2);
    expect(other?.worker).not.toBe(execution.worker);
    execution.return(1);
    await test.becomes(id, { status: Status.SUCCEEDED, numFailedAttempts: 0, terminated: true });
    await vi.waitFor(() => expect(execution.worker.exists).toBe(false), WAIT);
    await expect(drain(execution.worker.id)).rejects.toMatchObject({ reason: "WorkerDoesNotExist" });
  });
});
