/** What schedulers report and ask, against a real store. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  AdoptExecutionsRequest,
  type LeasedExecution,
} from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { Status } from "../../../gen/multinode/invocation/v1/invocation.pb.js";
import { openTestInvocations, reports, type TestInvocations } from "../test_invocation.js";

let test: TestInvocations;
let one: string;
let other: string;

beforeEach(async () => {
  test = await openTestInvocations();
  one = test.ids.next("sch");
  other = test.ids.next("sch");
});
afterEach(() => test.close());

const leaseOne = (schedulerId = one) => test.leaseOne(schedulerId);
const json = (text: string) => new TextEncoder().encode(text);

describe("reports", () => {
  beforeEach(() => test.catalog.add("f", { maxRetries: 2, maxConcurrency: 1 }));

  it("bring an invocation to its end", async () => {
    const id = await test.start("f");
    const leased = await leaseOne();
    const workerId = test.ids.next("wrk");
    expect(await test.report(reports.started(leased, workerId), reports.yielded(leased, 1, "a"))).toEqual([
      undefined,
      undefined,
    ]);
    expect(await test.get(id)).toMatchObject({ status: Status.RUNNING, result: { data: json('"a"') } });
    await test.report(reports.returned(leased, 42), reports.released(leased));
    expect(await test.get(id)).toMatchObject({
      status: Status.SUCCEEDED,
      terminated: true,
      result: { data: json("42") },
      executions: [{ attemptNumber: 1, terminated: true, workerId }],
    });
  });

  it("of an end may say the start too", async () => {
    test.catalog.add("f");
    const id = await test.start("f");
    const ended = reports.returned(await leaseOne(), 7, true);
    if (ended.event?.$case !== "ended") throw new Error("it is no end");
    ended.event.value.workerId = "wrk-1";
    expect(await test.report(ended)).toEqual([undefined]);
    const { status, startTimeMs, executions, terminated } = await test.get(id);
    expect([status, terminated]).toEqual([Status.SUCCEEDED, true]);
    expect(startTimeMs).toBeGreaterThan(0);
    expect(executions).toMatchObject([{ workerId: "wrk-1", startTimeMs, attemptNumber: 1 }]);
  });

  it("that are repeated change nothing, whatever has happened since", async () => {
    const id = await test.start("f");
    const first = await leaseOne();
    const lost = reports.threw(first, { released: true });
    expect(await test.report(lost)).toEqual([undefined]);
    const second = await leaseOne();
    // The answer to the first report was lost, so it is sent again, and so is a release.
    expect(await test.report(lost)).toEqual(["ExecutionHasAlreadyFinished"]);
    expect(await test.report(reports.released(first))).toEqual([undefined]);
    await test.start("f");
    expect(await test.lease(other)).toEqual([]); // the second attempt holds the only slot
    await test.report(reports.returned(second, 1, true));
    expect(await test.get(id)).toMatchObject({ status: Status.SUCCEEDED, terminated: true, numFailedAttempts: 1 });
    expect(await test.lease(other)).toHaveLength(1);
  });

  it("are refused from an attempt that was replaced, and do not undo the others", async () => {
    const id = await test.start("f");
    const first = await leaseOne();
    await test.report(reports.threw(first, { released: true }));
    const second = await leaseOne();
    const refusals = await test.report(
      reports.started(first),
      reports.yielded(first, 9, "stale"),
      reports.returned(first, "stale"),
      reports.yielded(second, 1, "new"),
      { ref: { executionId: test.ids.next("exe"), epoch: 1, invocationId: id }, event: undefined },
      { ref: { executionId: "exe", epoch: 1, invocationId: test.ids.next("inv") }, event: undefined },
      { ref: undefined, event: undefined },
    );
    expect(refusals).toEqual([
      "ExecutionHasAlreadyFinished",
      "ExecutionHasAlreadyFinished",
      "ExecutionHasAlreadyFinished",
      undefined,
      "ExecutionIsNotCurrent",
      "ExecutionDoesNotExist",
      "ExecutionDoesNotExist",
    ]);
    expect(await test.get(id)).toMatchObject({ result: { data: json('"new"') }, numFailedAttempts: 1 });
  });

  it("of a release before the end are the loss of a worker", async () => {
    const id = await test.start("f");
    await test.report(reports.released(await leaseOne()));
    expect(await test.get(id)).toMatchObject({ status: Status.PENDING, numFailedAttempts: 1 });
    expect((await test.get(id)).error).toMatch(/^WorkerLostError: /);
  });

  it("of a value above the limit fail the execution and say so", async () => {
    const id = await test.start("f");
    await test.report(reports.returned(await leaseOne(), "x".repeat(250_000), true));
    expect(await test.get(id)).toMatchObject({ status: Status.PENDING, numFailedAttempts: 1 });
    expect((await test.get(id)).error).toMatch(/PayloadSizeLimitExceeded.*250002.*250000/);
  });

  it("of a long error are cut, with a mark", async () => {
    const id = await test.start("f");
    await test.report(reports.threw(await leaseOne(), { error: `Error: ${"x".repeat(40_000)}`, released: true }));
    const { error } = await test.get(id);
    expect(error).toHaveLength(16_384);
    const [mark = "", cut] = /… \[cut: (\d+) characters\]$/.exec(error) ?? [];
    expect(error.length - mark.length + Number(cut)).toBe(40_007);
  });
});

describe("interruption", () => {
  it("is told to its scheduler, all of it, each time it renews and when it asks", async () => {
    test.catalog.add("f", { gracePeriodMs: 7_000 });
    const id = await test.start("f");
    const leased = await leaseOne();
    await test.lease(other);
    await test.report(reports.started(leased));
    await test.cancel(id);
    const renew = (schedulerId: string) => test.dispatch.renewLeases({ schedulerId, leaseDurationMs: 30_000 });
    for (let time = 0; time < 2; time++) {
      const { interruptions } = await renew(one);
      expect(interruptions).toMatchObject([{ ref: leased.ref, reason: 1 }]);
      expect(interruptions[0]?.killAfterMs).toBeGreaterThan(6_000);
      expect((await test.dispatch.listInterruptions({ schedulerId: one })).interruptions).toMatchObject([
        { ref: leased.ref, reason: 1 },
      ]);
    }
    expect((await renew(other)).interruptions).toEqual([]);
    test.clock.forward(8_000);
    expect((await renew(one)).interruptions?.[0]?.killAfterMs).toBeLessThan(0);
    await test.report(reports.threw(leased, { interrupted: true, released: true }));
    expect((await renew(one)).interruptions).toEqual([]);
    expect(await test.get(id)).toMatchObject({ status: Status.CANCELLED, terminated: true, numFailedAttempts: 0 });
  });
});

describe("adoption", () => {
  it("gives an execution to another scheduler and fences the first", async () => {
    test.catalog.add("f", { maxConcurrency: 1 });
    const id = await test.start("f");
    const leased = await leaseOne();
    await test.report(reports.started(leased));
    const { executions } = await test.dispatch.adoptExecutions(
      AdoptExecutionsRequest.fromPartial({
        schedulerId: other,
        leaseDurationMs: 30_000,
        executions: [{ executionToken: leased.executionToken }, { executionToken: "mnx_made_up" }],
      }),
    );
    expect(executions).toMatchObject([{ ref: { ...leased.ref, epoch: 2 }, attemptNumber: 1 }]);
    const [adopted] = executions as LeasedExecution[];
    if (adopted === undefined) throw new Error("nothing was adopted");
    expect(await test.report(reports.returned(leased, "old"), reports.released(leased))).toEqual([
      "ExecutionIsNotCurrent",
      "ExecutionIsNotCurrent",
    ]);
    const leasesOf = async (schedulerId: string) => (await test.dispatch.listLeases({ schedulerId })).leases?.length;
    expect([await leasesOf(one), await leasesOf(other)]).toEqual([0, 1]);
    expect(await test.report(reports.returned(adopted, "new"))).toEqual([undefined]);
    // Nor does the fenced one give back what the other holds.
    expect(await test.report(reports.released(leased))).toEqual(["ExecutionIsNotCurrent"]);
    expect(await test.get(id)).toMatchObject({ status: Status.SUCCEEDED, terminated: false });
    await test.report(reports.released(adopted));
    expect(await test.get(id)).toMatchObject({ terminated: true });
  });

  it("leaves what the scheduler holds as it is, and records the worker", async () => {
    test.catalog.add("f");
    const id = await test.start("f");
    const leased = await leaseOne();
    const workerId = test.ids.next("wrk");
    const adopt = async (schedulerId: string) => {
      const executions = [{ executionToken: leased.executionToken, workerId }];
      const answer = await test.dispatch.adoptExecutions({ schedulerId, leaseDurationMs: 30_000, executions });
      return answer.executions.map(({ ref }) => ref?.epoch);
    };
    expect([await adopt(one), await adopt(other), await adopt(other), await adopt(one)]).toEqual([[1], [2], [2], [3]]);
    const { leases } = await test.dispatch.listLeases({ schedulerId: one });
    expect(leases).toMatchObject([{ workerId, ended: false }]);
    expect(await test.get(id)).toMatchObject({ status: Status.PENDING, executions: [{ workerId }] });
  });

  it("takes several of one worker at once, attempts at one invocation among them", async () => {
    test.catalog.add("f", { maxRetries: 1 });
    await test.start("f");
    const ended = await leaseOne();
    await test.report(reports.threw(ended, { released: true }));
    const again = await leaseOne();
    await test.start("f");
    const second = await leaseOne();
    const executions = [again, ended, second].map(({ executionToken }) => ({ executionToken, workerId: "" }));
    const answer = await test.dispatch.adoptExecutions({ schedulerId: other, leaseDurationMs: 30_000, executions });
    expect(answer.executions.map(({ ref }) => ref?.executionId)).toEqual(
      [again, second].map(({ ref }) => ref?.executionId),
    );
    expect(answer.executions.map(({ function: fn }) => fn?.functionName)).toEqual(["f", undefined]);
  });

  it("is not for what has ended", async () => {
    test.catalog.add("f");
    await test.start("f");
    const leased = await leaseOne();
    await test.report(reports.returned(leased, 1));
    const executions = [{ executionToken: leased.executionToken }];
    const answer = await test.dispatch.adoptExecutions({ schedulerId: other, leaseDurationMs: 30_000, executions });
    expect(answer.executions).toEqual([]);
  });
});

describe("the owner of a worker", () => {
  it("is who holds what runs in it, then who started it, if they live", async () => {
    test.catalog.add("f");
    await test.start("f");
    await test.start("f");
    const [runs, held] = await test.lease(one);
    if (runs === undefined || held === undefined) throw new Error("two were to be leased");
    await test.report(reports.started(runs, "wrk-runs"), reports.started(held, "wrk-held"), reports.returned(held, 1));
    const dead = test.ids.next("sch");
    const owners = async (schedulerId: string, starter: string) => {
      const workers = ["wrk-runs", "wrk-held", "wrk-idle"].map((workerId) => ({ workerId, schedulerId: starter }));
      return (await test.dispatch.findOwners({ schedulerId, workers })).schedulerIds;
    };
    expect(await owners(other, dead)).toEqual([one, "", ""]);
    await test.dispatch.renewLeases({ schedulerId: other, leaseDurationMs: 60_000 });
    expect(await owners(other, other)).toEqual([one, other, other]);
    expect(await owners(one, other)).toEqual([other, other, other]); // a matter of the other's
    test.clock.forward(30_001);
    expect(await owners(other, one)).toEqual(["", "", ""]);
  });
});

describe("the list of leases", () => {
  it("holds what runs, and what has ended but holds its worker", async () => {
    test.catalog.add("f");
    await test.start("f");
    await test.start("f");
    const [running, ended] = await test.lease(one);
    if (running === undefined || ended === undefined) throw new Error("two were to be leased");
    await test.report(reports.started(running, "wrk-1"), reports.returned(ended, 1));
    const list = async () => (await test.dispatch.listLeases({ schedulerId: one })).leases;
    expect(await list()).toEqual([
      { ref: running.ref, workerId: "wrk-1", ended: false },
      { ref: ended.ref, workerId: "", ended: true },
    ]);
    await test.report(reports.returned(running, 1, true), reports.released(ended));
    expect(await list()).toEqual([]);
  });
});

describe("a service beside this one, on the same store", () => {
  it("may have changed what this one remembers", async () => {
    test.catalog.add("f", { maxRetries: 3 });
    const id = await test.start("f");
    const first = await leaseOne();
    const { dispatch, end } = await test.openReplica();
    const reportThere = async (...all: Parameters<typeof test.report>) =>
      (await dispatch.reportExecutions({ reports: all })).refusals?.map(({ reason }) => reason);
    expect(await reportThere(reports.started(first), reports.threw(first, { released: true }))).toEqual([]);
    const { executions } = await dispatch.leaseInvocations({
      schedulerId: one,
      maxCount: 1,
      excludedQueues: [],
      leaseDurationMs: 30_000,
      waitMs: 0,
    });
    const [second] = executions as LeasedExecution[];
    if (second === undefined) throw new Error("there was nothing to lease there");
    expect(await test.report(reports.started(second))).toEqual([undefined]);
    expect(await reportThere(reports.yielded(second, 1, "there"))).toEqual([]);
    expect(await test.report(reports.yielded(second, 2, "here"), reports.started(first))).toEqual([
      undefined,
      "ExecutionHasAlreadyFinished",
    ]);
    expect(await reportThere(reports.returned(second, 1, true))).toEqual([]);
    expect(await test.report(reports.released(second), reports.released(first))).toEqual([undefined, undefined]);
    expect(await test.get(id)).toMatchObject({ status: Status.SUCCEEDED, terminated: true, numFailedAttempts: 1 });
    await end();
  });
});
