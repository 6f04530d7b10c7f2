/** StreamLeases: a request that goes on until its scheduler has as many executions as it asked for. */
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { HeldLease, LeasedExecution } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { encodeArguments } from "../../../sdk/typescript/src/values/codec.js";
import { openTestInvocations, reports, type TestInvocations } from "../test_invocation.js";

let test: TestInvocations;
let one: string;

beforeEach(async () => {
  test = await openTestInvocations();
  one = test.ids.next("sch");
  test.catalog.add("f", { maxConcurrency: 10 });
});
afterEach(async () => {
  vi.restoreAllMocks();
  await test.close();
});

/** Reads a stream of leases to its end; what has come so far may be looked at meanwhile. */
function reading(request: Parameters<TestInvocations["leases"]>[0], signal?: AbortSignal) {
  const parts: string[][] = [];
  const leased: LeasedExecution[] = [];
  const read = async () => {
    for await (const executions of test.leases(request, signal)) {
      parts.push(invocationsOf(executions));
      leased.push(...executions);
    }
  };
  const ended = read();
  ended.catch(() => undefined); // of one that is open when its test is over
  return { parts, leased, ended };
}

function invocationsOf(leased: readonly LeasedExecution[]): string[] {
  return leased.map(({ ref }) => ref?.invocationId ?? "");
}

const SOON = { timeout: 5_000, interval: 5 };
const come = (of: { parts: string[][] }, count: number) =>
  vi.waitFor(() => expect(of.parts.flat()).toHaveLength(count), SOON);

async function queueOf(functionName = "f"): Promise<unknown> {
  const { projectId } = test.catalog;
  return await test.db.read((tx) =>
    tx.get("SELECT used, queued FROM queues WHERE project_id = ? AND function_name = ?", projectId, functionName),
  );
}

describe("a stream of leases", () => {
  it("brings each start as it comes, with its own commit, and ends when there are as many as were asked for", async () => {
    const stream = reading({ schedulerId: one, maxCount: 3 });
    const ids = [];
    for (let count = 1; count <= 3; count++) {
      ids.push(await test.start("f"));
      expect(await queueOf()).toEqual({ used: count, queued: 0 });
      await come(stream, count);
    }
    await stream.ended;
    expect(stream.parts).toEqual(ids.map((id) => [id]));
    await test.start("f");
    expect(await queueOf()).toEqual({ used: 3, queued: 1 });
  });

  it("takes along starts that come together, no more than were asked for, and the others stay queued", async () => {
    const stream = reading({ schedulerId: one, maxCount: 5 });
    const ids = await Promise.all(Array.from({ length: 8 }, () => test.start("f")));
    await stream.ended;
    expect(stream.parts.flat()).toHaveLength(5);
    expect(ids).toEqual(expect.arrayContaining(stream.parts.flat()));
    expect(await queueOf()).toEqual({ used: 5, queued: 3 });
  });

  it("brings what waited for a slot when one is free", async () => {
    test.catalog.add("narrow", { maxConcurrency: 1 });
    const stream = reading({ schedulerId: one, maxCount: 9 });
    const first = await test.start("narrow");
    const second = await test.start("narrow");
    await come(stream, 1);
    expect(stream.parts).toEqual([[first]]);
    expect(await test.lease(test.ids.next("sch"))).toEqual([]);
    const { leases } = await test.dispatch.listLeases({ schedulerId: one });
    await test.report(...(leases as HeldLease[]).map((lease) => reports.returned(lease, 1, true)));
    await come(stream, 2);
    expect(stream.parts).toEqual([[first], [second]]);
  });

  describe("where more waits than there are slots", () => {
    beforeEach(async () => {
      test.catalog.add("narrow", { maxConcurrency: 2 });
      for (let count = 0; count < 8; count++) await test.start("narrow");
    });

    /** Ends what is leased, as many at once as that is. Answers how many writes that took. */
    async function end(of: { parts: string[][] }, came: number): Promise<number> {
      const write = vi.spyOn(test.db, "write");
      const { leases } = await test.dispatch.listLeases({ schedulerId: one });
      await test.report(...(leases as HeldLease[]).map((lease) => reports.returned(lease, 1, true)));
      await come(of, came);
      const { length } = write.mock.calls;
      write.mockRestore();
      return length;
    }

    it("brings what comes next with the write of the end that makes room for it", async () => {
      const stream = reading({ schedulerId: one, maxCount: 100 });
      await come(stream, 2);
      expect(await end(stream, 4)).toBe(2); // nothing had been given back before
      expect(await end(stream, 6)).toBe(1);
      expect(await end(stream, 8)).toBe(1);
      expect(await queueOf("narrow")).toEqual({ used: 2, queued: 0 });
    });

    it("brings it with a write of its own where another queue has something for a free slot, too", async () => {
      const stream = reading({ schedulerId: one, maxCount: 100, excludedQueues: [`${test.catalog.projectId}/f`] });
      await come(stream, 2);
      await test.start("f");
      expect(await end(stream, 4)).toBe(2);
      expect(await end(stream, 6)).toBe(2);
      expect(await queueOf()).toEqual({ used: 0, queued: 1 });
    });

    it("keeps what a write that fails had leased", async () => {
      const stream = reading({ schedulerId: one, maxCount: 100 });
      await come(stream, 2);
      await end(stream, 4);
      const { leases } = await test.dispatch.listLeases({ schedulerId: one });
      const ended = (leases as HeldLease[]).map((lease) => reports.returned(lease, 1, true));
      const real = Object.getPrototypeOf(test.db).write as typeof test.db.write;
      vi.spyOn(test.db, "write").mockImplementationOnce((work) =>
        real.call(test.db, async (tx) => {
          await work(tx);
          throw new Error("the database is away");
        }),
      );
      await expect(test.report(...ended)).rejects.toThrow("the database is away");
      expect(stream.parts.flat()).toHaveLength(4);
      expect(await queueOf("narrow")).toEqual({ used: 2, queued: 4 });
      await test.report(...ended);
      await come(stream, 6);
    });
  });

  /** Less than the time after which a scheduler looks for itself. */
  const AT_ONCE_MS = 1_500;

  it("brings at once what one write of an end could not take: inputs that are too large together", async () => {
    test.catalog.add("large", { maxConcurrency: 20 });
    const { positional } = encodeArguments(["x".repeat(240_000)]);
    for (let count = 0; count < 60; count++) await test.start("large", { arguments: { positional, named: undefined } });
    const stream = reading({ schedulerId: one, maxCount: 500 });
    const end = async (from: number, to: number) => {
      await test.report(...stream.leased.slice(from, to).map((execution) => reports.returned(execution, 1, true)));
    };
    await come(stream, 20);
    await end(0, 1);
    await come(stream, 21);
    const freedAt = performance.now();
    await end(1, 21);
    await come(stream, 41);
    expect(performance.now() - freedAt).toBeLessThan(AT_ONCE_MS);
  });

  it("brings at its time what waited out a retry delay when a slot was free for it", async () => {
    test.catalog.add("again", {
      maxConcurrency: 3,
      maxRetries: 1,
      retryDelay: { initialMs: 600, factor: 1, jitter: 0 },
    });
    for (let count = 0; count < 6; count++) await test.start("again");
    const stream = reading({ schedulerId: one, maxCount: 500 });
    const leased = (index: number) => stream.leased[index] ?? expect.fail();
    await come(stream, 3);
    await test.report(reports.returned(leased(0), 1, true));
    await come(stream, 4);
    const failedAt = performance.now();
    await test.report(reports.threw(leased(1), { released: true }));
    await come(stream, 5);
    await test.report(reports.returned(leased(2), 1, true), reports.returned(leased(3), 1, true));
    await come(stream, 7);
    expect(performance.now() - failedAt).toBeLessThan(AT_ONCE_MS);
  });

  it("is replaced by one of the same scheduler, for which what is still on its way counts", async () => {
    const first = reading({ schedulerId: one, maxCount: 5 });
    await test.start("f");
    await test.start("f");
    await come(first, 2);
    // It says that one of the two has come.
    const second = reading({ schedulerId: one, maxCount: 4, receivedCount: 1 });
    await first.ended;
    await Promise.all(Array.from({ length: 6 }, () => test.start("f")));
    await second.ended;
    expect(first.parts.flat()).toHaveLength(2);
    expect(second.parts.flat()).toHaveLength(3);
    expect(await queueOf()).toEqual({ used: 5, queued: 3 });
  });

  /** Holds back the next write, which is one of a start. Answers what lets it go on. */
  async function startHeldBack(): Promise<() => Promise<string>> {
    const held = Promise.withResolvers<void>();
    const write = vi.spyOn(test.db, "write").mockImplementationOnce(async (work, options) => {
      const real = Object.getPrototypeOf(test.db).write as typeof test.db.write;
      await held.promise;
      return await real.call(test.db, work as never, options as never);
    });
    const starting = test.start("f");
    await vi.waitFor(() => expect(write).toHaveBeenCalled(), SOON);
    return () => {
      held.resolve();
      return starting;
    };
  }

  it("that is replaced while a start takes it along still brings that, which counts for all that come after it", async () => {
    const first = reading({ schedulerId: one, maxCount: 2 });
    await test.start("f");
    await come(first, 1);
    const goOn = await startHeldBack();
    const second = reading({ schedulerId: one, maxCount: 2, receivedCount: 1 });
    const third = reading({ schedulerId: one, maxCount: 2, receivedCount: 1 });
    const id = await goOn();
    await Promise.all([first.ended, second.ended]);
    expect(first.parts.at(-1)).toEqual([id]);
    const others = [await test.start("f"), await test.start("f")];
    await third.ended;
    expect(others).toEqual(expect.arrayContaining(third.parts.flat()));
    expect([second.parts.flat(), third.parts.flat()].map(({ length }) => length)).toEqual([0, 1]);
  });

  it.each(["has brought all that was asked for", "is over while a start takes it along"])(
    "counts on where the one before it %s",
    async (how) => {
      const isOver = how.startsWith("is over");
      const waitMs = isOver ? 1_500 : 30_000;
      const first = reading({ schedulerId: one, maxCount: 2, waitMs });
      await test.start("f");
      await come(first, 1);
      const goOn = await startHeldBack();
      if (isOver) await delay(waitMs + 50);
      const second = () => reading({ schedulerId: one, maxCount: 2, receivedCount: 0 });
      const early = isOver ? second() : undefined;
      await goOn();
      await first.ended;
      const late = early ?? second();
      await Promise.all([test.start("f"), test.start("f")]);
      expect(first.parts.flat()).toHaveLength(2);
      expect(await queueOf()).toEqual({ used: 2, queued: 2 });
      expect(late.parts).toEqual([]);
    },
  );

  it("is given what a start of the one before gives back, at once", async () => {
    const first = reading({ schedulerId: one, maxCount: 1 });
    const failed = Promise.withResolvers<never>();
    const write = vi.spyOn(test.db, "write").mockImplementationOnce(() => failed.promise);
    await vi.waitFor(() => expect(first.parts).toEqual([]), SOON);
    const starting = test.start("f").catch((error: unknown) => error);
    await vi.waitFor(() => expect(write).toHaveBeenCalled(), SOON);
    const second = reading({ schedulerId: one, maxCount: 1, receivedCount: 0 });
    failed.reject(new Error("the disk is full"));
    expect(await starting).toBeInstanceOf(Error);
    const id = await test.start("f");
    await second.ended;
    expect(second.parts).toEqual([[id]]);
  });

  it("brings what is queued as soon as a start that took all that was left gives some of it back", async () => {
    await test.start("f");
    await test.lease(test.ids.next("sch"));
    const key = { idempotencyKey: "k" };
    await test.start("f", key);
    await test.lease(test.ids.next("sch"));
    const stream = reading({ schedulerId: one, maxCount: 2 });
    const held = Promise.withResolvers<void>();
    const real = test.db.peek.bind(test.db);
    const peek = vi.spyOn(test.db, "peek").mockImplementationOnce(async (work) => {
      const found = await real(work);
      await held.promise;
      return found;
    });
    // By another replica, which has no scheduler that waits.
    const replica = await test.openReplica();
    const queued = (await replica.client.startInvocation(test.startRequest("f"))).invocationId;
    test.bus.publish({ $case: "queue", value: {} });
    await vi.waitFor(() => expect(peek).toHaveBeenCalled(), SOON);
    const requests = [test.startRequest("f", key), test.startRequest("f", key)];
    const repeating = test.client.batchStartInvocations({ requestId: "r", requests });
    held.resolve();
    await repeating;
    await vi.waitFor(() => expect(stream.parts.flat()).toEqual([queued]), { timeout: 1_000, interval: 5 });
    await replica.end();
  });

  it("ends when its time is over, its caller is gone, or it asks for nothing", async () => {
    const over = new AbortController();
    const streams = [
      reading({ schedulerId: one, maxCount: 1, waitMs: 50 }),
      reading({ schedulerId: test.ids.next("sch"), maxCount: 1 }, over.signal),
      reading({ schedulerId: test.ids.next("sch"), maxCount: 0 }),
    ];
    over.abort();
    await Promise.all(streams.map(({ ended }) => ended));
    expect(streams.map(({ parts }) => parts)).toEqual([[], [], []]);
    await test.start("f");
    expect(await queueOf()).toEqual({ used: 0, queued: 1 });
  });

  it("is given no more than it reads", async () => {
    const stream = test.leases({ schedulerId: one, maxCount: 10 });
    const first = stream.next();
    const ids = [];
    for (let i = 0; i < 10; i++) ids.push(await test.start("f"));
    expect(invocationsOf((await first).value ?? [])).toEqual([ids[0]]);
    // The ninth and the tenth found four unread before them, and are found when these are read.
    const { used, queued } = (await queueOf()) as { used: number; queued: number };
    expect(used).toBeLessThan(10);
    expect(used + queued).toBe(10);
    const rest = [];
    while (rest.length < 9) rest.push(...invocationsOf((await stream.next()).value ?? []));
    expect(rest.toSorted()).toEqual(ids.slice(1).toSorted());
    expect(await stream.next()).toMatchObject({ done: true });
  });
});
