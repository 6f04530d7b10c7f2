/** Schedulers whose registry does not give the code of a version. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Status } from "../../../gen/multinode/invocation/v1/invocation.pb.js";
import { openTestInvocations, type TestInvocations } from "../../invocation/test_invocation.js";
import { Refusal } from "../../platform/errors.js";
import type { FakeExecution } from "../runtime/fake.js";
import { becomes, createTestScheduler, type TestScheduler, type TestSchedulerOptions } from "../test_scheduler.js";

const WAIT = { timeout: 5_000, interval: 5 };
const WHOLE_CPU = { cpu: 1, memoryBytes: 1 << 26 };
const AWAY = new Refusal("Unavailable", "a service that this one needs does not answer");
const SUCCEEDED = { status: Status.SUCCEEDED, numFailedAttempts: 0, terminated: true };

let test: TestInvocations;
let scheduler: TestScheduler;
/** Thrown in place of code. */
let failure: Error | undefined;
let asked: number;

beforeEach(async () => {
  test = await openTestInvocations();
  test.service.start();
  failure = AWAY;
  asked = 0;
});
afterEach(async () => {
  await scheduler.stop();
  await test.close();
});

async function open(options: TestSchedulerOptions): Promise<void> {
  const client = test.catalog.client();
  const getCode: typeof client.getCode = async (request, more) => {
    asked += 1;
    if (failure !== undefined) throw failure;
    return await client.getCode(request, more);
  };
  scheduler = createTestScheduler(test, { catalog: { ...client, getCode }, ...options });
  await scheduler.service.start();
}

const askedAgain = (times = 2) => vi.waitFor(() => expect(asked).toBeGreaterThanOrEqual(times), WAIT);
const run = (execution: FakeExecution) => execution.return("done");

describe("a registry that is away", () => {
  it.each([
    ["", false],
    [" and workers are started for executions", true],
  ])("while many wait%s delays them, and costs no attempt", async (_, takesFirstWork) => {
    await open({ run, takesFirstWork });
    test.catalog.add("f", { ...WHOLE_CPU, maxConcurrency: 20 });
    const ids = await Promise.all(Array.from({ length: 20 }, () => test.start("f")));
    await askedAgain(3);
    const states = await Promise.all(ids.map((id) => test.get(id)));
    expect(new Set(states.map(({ status }) => status))).toEqual(new Set([Status.PENDING]));
    failure = undefined;
    for (const id of ids) await becomes(test, id, SUCCEEDED);
  });

  it("is asked by one at a time, however many workers wait", async () => {
    await open({ run, maxWorkers: 20 });
    test.catalog.add("f", { maxConcurrency: 20 });
    const ids = await Promise.all(Array.from({ length: 20 }, () => test.start("f")));
    await vi.waitFor(() => expect(scheduler.runtime.workers.size).toBe(20), WAIT);
    await askedAgain(3);
    expect(asked).toBeLessThan(10);
    failure = undefined;
    for (const id of ids) await becomes(test, id, SUCCEEDED);
  });

  it("keeps nothing from being cancelled", async () => {
    await open({ run });
    test.catalog.add("f", { gracePeriodMs: 50 });
    const id = await test.start("f");
    await askedAgain();
    await test.cancel(id);
    await becomes(test, id, { status: Status.CANCELLED, terminated: true });
    expect(scheduler.runtime.executions).toEqual([]);
  });

  it("while a worker connects again gives it the code and the execution on the new connection, once", async () => {
    await open({ run });
    test.catalog.add("f");
    const id = await test.start("f");
    await askedAgain();
    const [worker] = [...scheduler.runtime.workers.values()];
    worker?.disconnect();
    worker?.connect();
    await vi.waitFor(() => expect(worker?.commands.filter(({ $case }) => $case === "welcome")).toHaveLength(2), WAIT);
    failure = undefined;
    await becomes(test, id, SUCCEEDED);
    const said = worker?.commands.map(({ $case }) => $case);
    expect(said?.slice(0, 5)).toEqual(["welcome", "welcome", "prepare", "bind", "assign"]);
    expect(said?.filter((command) => command === "assign")).toHaveLength(1);
  });
});

describe("a registry that answers, but with no code", () => {
  it("because there is no such version fails an attempt at once", async () => {
    failure = new Refusal("VersionDoesNotExist", "the version does not exist");
    await open({ run });
    test.catalog.add("f");
    const id = await test.start("f");
    const { error } = await becomes(test, id, { status: Status.FAILED, numFailedAttempts: 1, terminated: true });
    expect(error).toMatch(/^WorkerLostError/);
    expect(asked).toBe(1);
  });

  it("because of an error is asked a few times", async () => {
    failure = new Error("the variable A was sealed with another secret");
    await open({ run });
    test.catalog.add("f");
    const id = await test.start("f");
    await becomes(test, id, { status: Status.FAILED, numFailedAttempts: 1, terminated: true });
    expect(asked).toBe(4);
    // The next one asks for itself.
    failure = undefined;
    await becomes(test, await test.start("f"), SUCCEEDED);
  });
});
