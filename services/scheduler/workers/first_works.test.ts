/** Workers that are started for an execution and begin with it, with fake ones on a real invocation service. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { Outcome, Status } from "../../../gen/multinode/invocation/v1/invocation.pb.js";
import { encode } from "../../../sdk/typescript/src/values/codec.js";
import { FakeImages } from "../runtime/fake_images.js";
import { openTestCluster } from "../test_cluster.js";
import { becomes, openTestScheduler, type TestSchedulerOptions } from "../test_scheduler.js";

const WAIT = { timeout: 5_000, interval: 5 };
const WHOLE_CPU = { cpu: 1, memoryBytes: 1 << 26 };
const LARGE_BYTES = 600 * 1024;
const DIGEST = "c".repeat(64);

let test: Awaited<ReturnType<typeof openTestScheduler>>;

async function open(options: TestSchedulerOptions = {}): Promise<void> {
  test = await openTestScheduler({ takesFirstWork: true, ...options });
}
afterEach(() => test.close());

async function one() {
  const [execution] = await test.running(1);
  if (execution === undefined) throw new Error("nothing runs");
  return execution;
}

/** The newest worker, whether it has come or not. */
async function newest(count = 1) {
  return await vi.waitFor(() => {
    const worker = test.runtime.history[count - 1];
    if (worker === undefined) throw new Error(`${test.runtime.history.length} workers were started`);
    return worker;
  }, WAIT);
}

const said = (worker: Awaited<ReturnType<typeof newest>>) => worker.commands.map(({ $case }) => $case);

describe("a worker that is started for an execution", () => {
  it("has its limits from its start, begins by itself, and is gone after it", async () => {
    await open();
    test.catalog.add("f", WHOLE_CPU);
    const id = await test.start("f");
    const { worker, assigned, ...execution } = await one();
    expect(worker.resources).toEqual(WHOLE_CPU);
    expect(assigned).toMatchObject({ invocationId: id, attemptNumber: 1 });
    await test.becomes(id, { status: Status.RUNNING });
    expect(said(worker)).not.toContain("assign");
    const [current] = await test.running(1);
    current?.return(1);
    await test.becomes(id, { status: Status.SUCCEEDED, terminated: true });
    expect(worker.exists).toBe(false);
    expect(execution.id).toBe(current?.id);
  });

  it("is for the execution that has waited longest, of those that no worker is on its way to", async () => {
    await open({ maxWorkers: 3 });
    test.catalog.add("f", { ...WHOLE_CPU, maxConcurrency: 10 });
    const ids = [];
    for (let i = 0; i < 5; i++) ids.push(await test.start("f"));
    const begun = await test.running(3);
    expect(new Set(begun.map(({ assigned }) => assigned.invocationId))).toEqual(new Set(ids.slice(0, 3)));
    for (const execution of begun) execution.return();
    for (const execution of await test.running(2)) execution.return();
    for (const id of ids) await test.becomes(id, { status: Status.SUCCEEDED, terminated: true });
    expect(test.runtime.history).toHaveLength(5);
  });

  it.each([
    ["is used again", { ...WHOLE_CPU, maxInvocationsPerWorker: 2 }, {}],
    ["boots with a part of a CPU", { ...WHOLE_CPU, cpu: 0.5 }, {}],
    ["has arguments that are not text", WHOLE_CPU, { arguments: { positional: encode([new Uint8Array(3)]) as never } }],
  ])("is an empty one where the function %s", async (_, options, request) => {
    await open();
    test.catalog.add("f", options);
    const id = await test.start("f", request as object);
    const { worker } = await one();
    expect(said(worker)).toContain("assign");
    (await one()).return(1);
    await test.becomes(id, { status: Status.SUCCEEDED });
  });

  it("fetches a large bundle itself", async () => {
    await open();
    test.catalog.bundles.set("d", new Uint8Array(LARGE_BYTES));
    test.catalog.add("f", WHOLE_CPU);
    const id = await test.start("f");
    const execution = await one();
    expect(said(execution.worker)).toEqual(["welcome", "prepare", "bind", "assign"]);
    expect(execution.worker.resources).toEqual(WHOLE_CPU);
    execution.return(1);
    await test.becomes(id, { status: Status.SUCCEEDED });
  });

  it("does not begin where it is started late, and is given the execution when it has come", async () => {
    await open({ now: () => Date.now() - 60_000 });
    test.catalog.add("f", WHOLE_CPU);
    const id = await test.start("f");
    const execution = await one();
    expect(said(execution.worker)).toContain("assign");
    execution.return(1);
    expect(await test.becomes(id, { status: Status.SUCCEEDED })).toMatchObject({ numFailedAttempts: 0 });
  });
});

describe("one that cannot be started", () => {
  it("costs an attempt, and gives its slot back when nothing of it is left", async () => {
    await open({ maxWorkers: 1 });
    test.catalog.add("f", { ...WHOLE_CPU, maxRetries: 1, maxConcurrency: 1 });
    const stop = Promise.withResolvers<void>();
    const stopped = vi.spyOn(test.runtime, "stop").mockReturnValueOnce(stop.promise);
    test.runtime.startError = new Error("no room");
    const id = await test.start("f");
    await vi.waitFor(() => expect(stopped).toHaveBeenCalled(), WAIT);
    expect(await test.get(id)).toMatchObject({ status: Status.PENDING, numFailedAttempts: 0 });
    test.runtime.startError = undefined;
    stop.resolve();
    const error = expect.stringMatching(/^ProvisioningError: the worker could not be started: .*no room/);
    await test.becomes(id, { numFailedAttempts: 1 });
    const execution = await one();
    execution.return(1);
    const { executions } = await test.becomes(id, { status: Status.SUCCEEDED, terminated: true });
    expect(executions).toMatchObject([{ outcome: Outcome.FAILED, error }, { outcome: Outcome.SUCCEEDED }]);
  });

  it("because its image is not there any more costs none", async () => {
    const images = new FakeImages();
    images.names.set(DIGEST, "old");
    await open({ images });
    test.catalog.add("f", WHOLE_CPU, DIGEST);
    const start = test.runtime.start.bind(test.runtime);
    test.runtime.start = (spec) => {
      if (spec.image === "old") images.names.set(DIGEST, "new");
      return start(spec);
    };
    const id = await test.start("f");
    const execution = await one();
    expect(execution.worker.image).toBe("new");
    execution.return(1);
    expect(await test.becomes(id, { status: Status.SUCCEEDED })).toMatchObject({ numFailedAttempts: 0 });
  });

  it("is told from one whose function ends it before it comes", async () => {
    await open();
    test.runtime.boot = "hangs";
    test.catalog.add("f", WHOLE_CPU);
    test.catalog.add("g");
    const ids = [await test.start("f"), await test.start("f")];
    const [one, other] = await test.running(2);
    one?.worker.die("exited with code 3");
    other?.worker.die("was killed by SIGKILL", true);
    const errors = ids.map(async (id) => (await test.becomes(id, { status: Status.FAILED, terminated: true })).error);
    expect(await Promise.all(errors)).toEqual([
      "WorkerLostError: the worker exited with code 3",
      "OutOfMemoryError: the worker was killed by SIGKILL, out of memory",
    ]);
    // The image is not at fault: nobody waits for it.
    test.runtime.boot = "connects";
    const next = await test.start("g");
    const running = await test.running(1);
    running[0]?.return(1);
    await test.becomes(next, { status: Status.SUCCEEDED });
  });
});

describe("an execution that is cancelled while its worker is on its way", () => {
  it("is interrupted when that comes", async () => {
    await open();
    test.runtime.boot = "hangs";
    test.catalog.add("f", WHOLE_CPU);
    const id = await test.start("f");
    const execution = await one();
    await test.cancel(id);
    execution.worker.connect();
    await vi.waitFor(() => expect(execution.interruptions).toHaveLength(1), WAIT);
    execution.throw("InvocationCancelledError: cancelled");
    await test.becomes(id, { status: Status.CANCELLED, terminated: true });
  });

  it("is killed with it after the grace period, where it does not come", async () => {
    await open();
    test.runtime.boot = "hangs";
    test.catalog.add("f", { ...WHOLE_CPU, gracePeriodMs: 50 });
    const id = await test.start("f");
    const { worker } = await one();
    await test.cancel(id);
    // It has begun, though nobody could say so.
    await test.becomes(id, { status: Status.CANCELLED, terminated: true, numFailedAttempts: 1 });
    expect((await test.get(id)).executions).toMatchObject([{ outcome: Outcome.FAILED }]);
    expect(worker.exists).toBe(false);
  });

  it("has not failed where that was to be given it when it comes", async () => {
    await open();
    test.runtime.boot = "hangs";
    test.catalog.bundles.set("d", new Uint8Array(LARGE_BYTES));
    test.catalog.add("f", { ...WHOLE_CPU, gracePeriodMs: 50 });
    const id = await test.start("f");
    const worker = await newest();
    await test.cancel(id);
    await test.becomes(id, { status: Status.CANCELLED, terminated: true, numFailedAttempts: 0 });
    expect((await test.get(id)).executions).toMatchObject([{ outcome: Outcome.ABORTED }]);
    expect(worker.exists).toBe(false);
  });
});

describe("an execution whose worker's start does not come to its end, because the engine is away", () => {
  const engineIsAway = () => {
    const started = vi.fn();
    const stops = new Map<string, () => void>();
    const stop = test.runtime.stop.bind(test.runtime);
    test.runtime.start = ({ workerId }) => {
      started();
      return new Promise((_, reject) => stops.set(workerId, () => reject(new Error("it was stopped"))));
    };
    test.runtime.stop = async (workerId) => {
      stops.get(workerId)?.();
      await stop(workerId);
    };
    return started;
  };

  it.each([
    ["for it", WHOLE_CPU],
    ["for nobody", {}],
  ])("can be cancelled, where the worker is started %s", async (_, options) => {
    await open();
    test.catalog.add("f", { ...options, gracePeriodMs: 50 });
    const started = engineIsAway();
    const id = await test.start("f");
    await vi.waitFor(() => expect(started).toHaveBeenCalled(), WAIT);
    await test.cancel(id);
    await test.becomes(id, { status: Status.CANCELLED, terminated: true });
  });
});

describe("a registry that does not send the code", () => {
  const hang = () => {
    const sent = Promise.withResolvers<void>();
    test.catalog.waitFor = sent.promise;
    return sent;
  };

  it("holds up no worker: it is given the execution when it has come", async () => {
    await open();
    test.catalog.add("f", WHOLE_CPU);
    const sent = hang();
    const id = await test.start("f");
    const execution = await one();
    sent.resolve();
    expect(said(execution.worker)).toContain("assign");
    execution.return(1);
    await test.becomes(id, { status: Status.SUCCEEDED });
  });

  it("while its worker is killed: that is not started any more", async () => {
    await open();
    test.catalog.add("f", { ...WHOLE_CPU, gracePeriodMs: 0 });
    const sent = hang();
    const id = await test.start("f");
    await test.becomes(id, { status: Status.PENDING });
    await vi.waitFor(() => expect(test.catalog.downloads).toBe(1), WAIT);
    const stopped = vi.spyOn(test.runtime, "stop");
    await test.cancel(id);
    await vi.waitFor(() => expect(stopped).toHaveBeenCalled(), WAIT);
    sent.resolve();
    await test.becomes(id, { status: Status.CANCELLED, terminated: true });
    expect(test.runtime.history).toEqual([]);
  });
});

describe("a scheduler that ends while a worker is started", () => {
  it.each(["in peace", "by a kill"])(
    "%s costs no attempt: the worker goes to another with what it began",
    async (how) => {
      await open();
      const cluster = await openTestCluster();
      const [first] = [await cluster.open(), await cluster.open({ maxWorkers: 0 })];
      cluster.invocations.catalog.add("f", WHOLE_CPU);
      const id = await cluster.invocations.start("f");
      const execution = await vi.waitFor(() => {
        const [found] = cluster.engine.executions;
        if (found === undefined) throw new Error("nothing runs");
        return found;
      }, WAIT);
      if (how === "in peace") await first.stop();
      else first.kill();
      execution.return(1);
      const { executions } = await becomes(cluster.invocations, id, { status: Status.SUCCEEDED, terminated: true });
      expect(executions).toHaveLength(1);
      await cluster.close();
    },
  );
});
