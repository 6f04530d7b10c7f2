/** What schedulers are given, against a real store. */
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type LeasedExecution } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
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

const json = (text: string) => new TextEncoder().encode(text);
const invocationsOf = (leased: readonly LeasedExecution[]) => leased.map(({ ref }) => ref?.invocationId);

describe("leasing", () => {
  it("gives the oldest first, with all that is needed to run it", async () => {
    test.catalog.add("f", { timeoutMs: 5_000 });
    const [first, second] = [await test.start("f"), await test.start("f")];
    const leased = await test.lease(one);
    expect(invocationsOf(leased)).toEqual([first, second]);
    expect(leased[0]).toMatchObject({
      attemptNumber: 1,
      projectName: "project",
      versionId: test.catalog.versionId,
      function: { functionName: "f", options: { timeoutMs: 5_000 } },
      arguments: { positional: { data: json("[1]") } },
      parentInvocationId: "",
    });
    expect(await test.lease(other)).toEqual([]);
  });

  it("never gives more than the slots of a function, to however many schedulers", async () => {
    test.catalog.add("f", { maxConcurrency: 3 });
    await Promise.all(Array.from({ length: 20 }, () => test.start("f")));
    const leases = await Promise.all([one, other, one, other].map((schedulerId) => test.lease(schedulerId)));
    expect(leases.flat()).toHaveLength(3);
    const [done] = leases.flat();
    if (done === undefined) throw new Error("nothing was leased");
    expect(await test.report(reports.returned(done, 1))).toEqual([undefined]);
    expect(await test.lease(one)).toEqual([]); // it still holds its worker
    await test.report(reports.released(done));
    expect(await test.lease(other)).toHaveLength(1);
    expect(await test.lease(one)).toEqual([]);
  });

  it("shares what is asked for between functions, and leaves excluded ones alone", async () => {
    for (const name of ["f", "g"]) {
      test.catalog.add(name);
      for (let i = 0; i < 5; i++) await test.start(name);
    }
    const names = (leased: readonly LeasedExecution[]) =>
      leased.map((execution) => execution.function?.functionName ?? "").toSorted((a, b) => a.localeCompare(b));
    expect(names(await test.lease(one, 4))).toEqual(["f", "f", "g", "g"]);
    expect(names(await test.lease(one, 4, [`${test.catalog.projectId}/f`]))).toEqual(["g", "g", "g"]);
  });

  const ask = (schedulerId: string, maxCount: number, signal?: AbortSignal) =>
    test.dispatch.leaseInvocations(
      { schedulerId, maxCount, excludedQueues: [], leaseDurationMs: 30_000, waitMs: 30_000 },
      signal && { signal },
    );

  it("ends the request that waits when the same scheduler asks anew", async () => {
    test.catalog.add("f", { maxConcurrency: 10 });
    const first = ask(one, 1);
    const ofOther = ask(other, 1);
    const second = ask(one, 2);
    const bound = delay(10_000, "it still waits", { ref: false });
    expect(await Promise.race([first, bound])).toEqual({ executions: [] });
    const ids = await Promise.all([test.start("f"), test.start("f"), test.start("f")]);
    const leased = [...(await second).executions, ...(await ofOther).executions] as LeasedExecution[];
    expect(ids).toEqual(expect.arrayContaining(invocationsOf(leased)));
    expect(leased.length).toBeGreaterThanOrEqual(2);
  });

  it("takes nothing for a request that is over, also where there is something by then", async () => {
    test.catalog.add("f");
    const over = new AbortController();
    const waiting = ask(one, 1, over.signal);
    const starting = test.start("f");
    over.abort();
    expect(await waiting).toEqual({ executions: [] });
    await starting;
    expect(await ask(one, 1, AbortSignal.abort())).toEqual({ executions: [] });
    expect(await test.lease(one)).toHaveLength(1);
  });

  it("takes nothing when it is asked for nothing, and ends the request that waits", async () => {
    test.catalog.add("f");
    const waiting = ask(one, 1);
    expect(await ask(one, 0)).toEqual({ executions: [] });
    const bound = delay(10_000, "it still waits", { ref: false });
    expect(await Promise.race([waiting, bound])).toEqual({ executions: [] });
    await test.start("f");
    expect(await ask(one, 0)).toEqual({ executions: [] });
    expect(await test.lease(one)).toHaveLength(1);
  });

  it("gives what a function cannot use, because it waits out a retry delay, to the others", async () => {
    test.catalog.add("late", { maxRetries: 1, retryDelay: { initialMs: 60_000 } as never });
    test.catalog.add("g");
    for (let i = 0; i < 3; i++) await test.start("late");
    for (const leased of await test.lease(one)) await test.report(reports.threw(leased, { released: true }));
    for (let turn = 0; turn < 4; turn++) {
      const id = await test.start("g");
      expect(invocationsOf(await test.lease(one, 1))).toEqual([id]);
    }
    test.clock.forward(61_000);
    expect(await test.lease(one)).toHaveLength(3);
  });

  it("does not give what its ttl has passed, swept or not", async () => {
    test.catalog.add("f");
    await test.start("f", { ttlMs: 1_000 });
    test.clock.forward(1_001);
    expect(await test.lease(one)).toEqual([]);
  });
});

describe("looking for what may be leased", () => {
  it("is done anew only when something may have changed", async () => {
    test.catalog.add("f");
    const peek = vi.spyOn(test.db, "peek");
    for (let time = 0; time < 3; time += 1) expect(await test.lease(one)).toEqual([]);
    expect(peek).toHaveBeenCalledTimes(1);
    await test.start("f");
    expect(await test.lease(other)).toHaveLength(1);
    peek.mockRestore();
  });

  it("is of no queue that is excluded: of the others, when something is due", async () => {
    test.catalog.add("f");
    test.catalog.add("g", { maxRetries: 1, retryDelay: { initialMs: 600_000 } });
    const retried = await test.start("g");
    await test.report(reports.threw(await test.leaseOne(one), { released: true }));
    await test.start("f");
    const write = vi.spyOn(test.db, "write");
    const excluded = [`${test.catalog.projectId}/f`];
    expect(await test.lease(one, 1, excluded)).toEqual([]);
    expect(write).not.toHaveBeenCalled();
    write.mockRestore();
    test.clock.forward(600_000);
    expect(invocationsOf(await test.lease(one, 1, excluded))).toEqual([retried]);
  });

  it("ends when the service stops", async () => {
    const peek = vi.spyOn(test.db, "peek");
    const answer = test.dispatch.leaseInvocations({
      schedulerId: one,
      maxCount: 1,
      excludedQueues: [],
      leaseDurationMs: 30_000,
      waitMs: 15_000,
    });
    await vi.waitFor(() => expect(peek).toHaveBeenCalled());
    await test.service.stop();
    expect(await answer).toMatchObject({ executions: [] });
  });
});
