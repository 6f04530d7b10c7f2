/** What happens because time passes, with a service whose clock jumps. */
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Status } from "../../gen/multinode/invocation/v1/invocation.pb.js";
import type { Db } from "../platform/store/db.js";
import { createSqlStore } from "./sql/store.js";
import { openTestInvocations, reports, type TestInvocations } from "./test_invocation.js";

let test: TestInvocations;
let scheduler: string;
const store = createSqlStore();
const WAIT = { timeout: 5_000, interval: 10 };
/** Longer than what is a busy moment. */
const OUTAGE_MS = 5_500;

function wrapped(db: Db): Db {
  return {
    read: (work) => db.read(work),
    peek: (work) => db.peek(work),
    write: (work, options) => db.write(work, options),
    clock: db.clock,
    close: () => db.close(),
  };
}

async function open(wrap: (db: Db) => Db = (db) => db): Promise<void> {
  test = await openTestInvocations(wrap);
  scheduler = test.ids.next("sch");
  test.service.start();
}

beforeEach(() => open());
afterEach(() => test.close());

async function leaseOne() {
  const [leased] = await test.lease(scheduler, 1);
  if (leased === undefined) throw new Error("there was nothing to lease");
  return leased;
}

const becomes = (id: string, what: object) =>
  vi.waitFor(async () => expect(await test.get(id)).toMatchObject(what), WAIT);

describe("a ttl", () => {
  it("ends what has not begun", async () => {
    test.catalog.add("f");
    const [id, kept] = [await test.start("f", { ttlMs: 60_000 }), await test.start("f")];
    test.clock.forward(60_001);
    await becomes(id, { status: Status.TIMED_OUT, terminated: true, executions: [] });
    expect(await test.get(kept)).toMatchObject({ status: Status.PENDING });
  });

  it("is kept by what has begun, and not by what was only leased", async () => {
    test.catalog.add("f", { maxRetries: 1 });
    const id = await test.start("f", { ttlMs: 60_000 });
    const other = await test.start("f", { ttlMs: 60_001 });
    const [begun, provisioned] = [await leaseOne(), await leaseOne()];
    await test.report(reports.started(begun), reports.threw(begun, { released: true }));
    await test.report(reports.threw(provisioned, { error: "ProvisioningError: no worker", released: true }));
    test.clock.forward(61_000);
    await becomes(other, { status: Status.TIMED_OUT, numFailedAttempts: 1, startTimeMs: undefined });
    expect(await test.get(id)).toMatchObject({ status: Status.PENDING, numFailedAttempts: 1 });
  });

  it("interrupts what waits for its worker", async () => {
    test.catalog.add("f", { maxRetries: 1 });
    const id = await test.start("f", { ttlMs: 10_000 });
    const leased = await leaseOne();
    test.clock.forward(10_001);
    const listed = () => test.dispatch.listInterruptions({ schedulerId: scheduler });
    await vi.waitFor(async () => expect((await listed()).interruptions).toMatchObject([{ reason: 2 }]), WAIT);
    expect(await test.get(id)).toMatchObject({ status: Status.PENDING });
    await test.report(reports.threw(leased, { error: "", interrupted: true, released: true }));
    expect(await test.get(id)).toMatchObject({ status: Status.TIMED_OUT, terminated: true, numFailedAttempts: 0 });
  });
});

describe("a timeout", () => {
  it("is counted from the start and interrupts the execution", async () => {
    test.catalog.add("f", { timeoutMs: 20_000 });
    const interrupted = vi.fn();
    test.bus.subscribe("interruption", interrupted);
    const id = await test.start("f");
    const leased = await leaseOne();
    test.clock.forward(15_000);
    await test.dispatch.renewLeases({ schedulerId: scheduler, leaseDurationMs: 300_000 });
    await test.report(reports.started(leased));
    test.clock.forward(15_000);
    expect(await test.get(id)).toMatchObject({ status: Status.RUNNING });
    test.clock.forward(6_000);
    await vi.waitFor(() => expect(interrupted).toHaveBeenCalled(), WAIT);
    expect(interrupted).toHaveBeenCalledWith({ $case: "interruptions", value: { schedulerIds: [scheduler] } });
    const { interruptions } = await test.dispatch.renewLeases({ schedulerId: scheduler, leaseDurationMs: 30_000 });
    expect(interruptions).toMatchObject([{ ref: leased.ref, reason: 2 }]);
    await test.report(reports.threw(leased, { interrupted: true, killed: true, released: true }));
    expect(await test.get(id)).toMatchObject({ status: Status.TIMED_OUT, terminated: true });
  });

  it("that comes while a sweep is under way is not forgotten, nor is anything after it", async () => {
    await test.close();
    let gate: Promise<void> | undefined;
    let waiting = 0;
    await open((db) => ({
      read: async (work) => {
        waiting += 1;
        await gate;
        return await db.read(work);
      },
      write: (work, options) => db.write(work, options),
      peek: (work) => db.peek(work),
      clock: db.clock,
      close: () => db.close(),
    }));
    test.catalog.add("f", { timeoutMs: 20 });
    const interrupted = vi.fn();
    test.bus.subscribe("interruption", interrupted);
    for (let round = 1; round <= 2; round++) {
      await test.start("f");
      const leased = await leaseOne();
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      waiting = 0;
      await vi.waitFor(() => expect(waiting).toBeGreaterThan(0), WAIT); // a sweep has begun
      await test.report(reports.started(leased));
      const deadline = test.clock.now() + 60;
      await vi.waitFor(() => expect(test.clock.now()).toBeGreaterThan(deadline), WAIT);
      gate = undefined;
      resolve();
      await vi.waitFor(() => expect(interrupted).toHaveBeenCalledTimes(round), WAIT);
    }
  });
});

describe("a scheduler that falls silent", () => {
  it("loses what is late by then too, which is retried", async () => {
    test.catalog.add("f", { maxRetries: 1, timeoutMs: 40_000 });
    const id = await test.start("f");
    await test.report(reports.started(await leaseOne()));
    test.clock.forward(60_000); // as a restore of a backup, or a machine that was off
    await becomes(id, { status: Status.PENDING, numFailedAttempts: 1 });
    expect((await test.get(id)).error).toMatch(/^WorkerLostError: /);
  });

  it("because the database was away may tell what has ended meanwhile", async () => {
    await test.close();
    let isAway = false;
    await open((db) => ({
      ...wrapped(db),
      read: (work) => (isAway ? Promise.reject(new Error("the database is away")) : db.read(work)),
    }));
    test.catalog.add("f");
    const id = await test.start("f");
    const leased = await leaseOne();
    isAway = true;
    await delay(OUTAGE_MS);
    test.clock.forward(30_001);
    isAway = false;
    const probe = await test.start("f", { ttlMs: 1 }); // its end shows that sweeps go on
    await becomes(probe, { status: Status.TIMED_OUT });
    expect(await test.report(reports.returned(leased, 1, true))).toEqual([undefined]);
    expect(await test.get(id)).toMatchObject({ status: Status.SUCCEEDED, numFailedAttempts: 0 });
  });

  it("loses its executions, whose slots are free", async () => {
    test.catalog.add("f", { maxRetries: 1, maxConcurrency: 3 });
    const ids = [await test.start("f"), await test.start("f"), await test.start("f")];
    const [running, failed, done] = await test.lease(scheduler);
    if (running === undefined || failed === undefined || done === undefined) throw new Error("three were to be leased");
    await test.report(reports.started(running), reports.threw(failed), reports.returned(done, 1));
    const other = test.ids.next("sch");
    expect(await test.lease(other)).toEqual([]);
    test.clock.forward(30_001);
    await becomes(ids[0] ?? "", { status: Status.PENDING, numFailedAttempts: 1 });
    expect((await test.get(ids[0] ?? "")).error).toMatch(/^WorkerLostError: /);
    await becomes(ids[2] ?? "", { status: Status.SUCCEEDED, terminated: true });
    expect((await test.get(ids[1] ?? "")).executions).toMatchObject([{ terminated: true }]);
    const again = await test.lease(other);
    expect(again.map(({ attemptNumber }) => attemptNumber)).toEqual([2, 2]);
    // What the lost one says now is too late, and gives back nothing.
    expect(await test.report(reports.returned(running, 1, true), reports.released(failed))).toEqual([
      "ExecutionHasAlreadyFinished",
      undefined,
    ]);
    for (let i = 0; i < 3; i++) await test.start("f");
    expect(await test.lease(other)).toHaveLength(1);
  });

  it("is not taken for lost because the clock was set forward, or the machine was suspended", async () => {
    test.catalog.add("f");
    const id = await test.start("f");
    const leased = await leaseOne();
    const begun = await test.start("f", { ttlMs: 3_600_000 }); // its end shows that a sweep has been
    test.clock.set(7_200_000);
    await becomes(begun, { status: Status.TIMED_OUT });
    expect(await test.get(id)).toMatchObject({ status: Status.PENDING, numFailedAttempts: 0 });
    await test.dispatch.renewLeases({ schedulerId: scheduler, leaseDurationMs: 30_000 });
    expect(await test.report(reports.returned(leased, 1, true))).toEqual([undefined]);
    const lost = await test.start("f");
    await leaseOne();
    test.clock.forward(70_000);
    await becomes(lost, { numFailedAttempts: 1 });
  });

  it("is told that its lease had expired", async () => {
    test.catalog.add("f");
    const renew = () => test.dispatch.renewLeases({ schedulerId: scheduler, leaseDurationMs: 30_000 });
    await test.start("f");
    await leaseOne();
    expect(await renew()).toMatchObject({ expired: false });
    test.clock.forward(30_001);
    await vi.waitFor(
      async () => expect((await test.dispatch.listLeases({ schedulerId: scheduler })).leases).toEqual([]),
      WAIT,
    );
    expect(await renew()).toMatchObject({ expired: true });
    expect(await renew()).toMatchObject({ expired: false });
  });
});

it("a clock that was set back does not keep what is started from being leased", async () => {
  test.catalog.add("f");
  await test.start("f");
  await leaseOne();
  test.clock.set(-3_600_000);
  const id = await test.start("f");
  expect(await test.lease(scheduler)).toMatchObject([{ ref: { invocationId: id } }]);
});

it("goes on with a cancellation that did not reach all descendants before the process ended", async () => {
  test.catalog.add("f", { maxConcurrency: 1 });
  const parent = await test.start("f");
  const children = await Promise.all(
    Array.from({ length: 1_100 }, () => test.start("f", { parentInvocationId: parent })),
  );
  await test.cancel(parent);
  const left = await Promise.all(children.map((id) => test.get(id)));
  expect(new Set(left.map(({ status }) => status))).toEqual(new Set([Status.CANCELLED]));
});

it("forgets all requests that are old, more than one sweep does", async () => {
  const bytes = Uint8Array.from([1]);
  const old = Array.from({ length: 7_000 }, (_, index) => `old-${index}`);
  await test.db.write(async (tx) => {
    for (const requestId of old) store.putRequest(tx, { requestId, bodyHash: bytes, outcomes: bytes, createdAt: 1 });
  });
  test.clock.forward(60 * 60_000);
  const count = () => test.db.read((tx) => tx.get<{ old: number }>("SELECT COUNT(*) AS old FROM start_requests"));
  await vi.waitFor(async () => expect(await count()).toEqual({ old: 0 }), WAIT);
});
