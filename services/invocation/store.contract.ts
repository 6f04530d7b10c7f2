/** What every implementation of the invocation store must do. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../platform/clock.js";
import { IdSource } from "../platform/ids.js";
import type { Db } from "../platform/store/db.js";
import { type LifePolicy, NEW_LIFE } from "./domain/life.js";
import type { LifeEvent } from "./domain/transitions.js";
import { type Change, type InvocationStore, type NewInvocation, type QueueRow, StaleLife } from "./store.js";
import { testStoredLists } from "./store_lists.contract.js";
import { WorkingSet } from "./working_set.js";

const POLICY: LifePolicy = { timeoutMs: 1_000, maxRetries: 3, retryDelayMs: () => 5_000 };
const NOW = 1_000_000;

/** `open` answers an empty database with the tables of the store's migrations. */
export function testInvocationStore(
  open: () => Promise<{ readonly db: Db; readonly store: InvocationStore; readonly close: () => Promise<void> }>,
): void {
  let db: Db;
  let store: InvocationStore;
  let close: () => Promise<void>;
  const ids = new IdSource(systemClock);
  // Each test has a project of its own.
  let projectId: string;
  let versionId: string;

  beforeAll(async () => {
    ({ db, store, close } = await open());
  });
  afterAll(() => close());
  beforeEach(async () => {
    projectId = ids.next("prj");
    versionId = ids.next("ver");
    await addFunction("f", 10);
  });

  async function addFunction(functionName: string, slotLimit: number): Promise<void> {
    await db.write(async (tx) => {
      const spec = new TextEncoder().encode(functionName);
      await store.ensureFunctions(tx, [{ projectId, projectName: "p", versionId, functionName, spec, slotLimit }]);
    });
  }

  const newInvocation = (more: Partial<NewInvocation["identity"]> = {}, availableAt = NOW): NewInvocation => ({
    identity: {
      id: ids.next("inv"),
      projectId,
      projectName: "p",
      functionName: "f",
      versionId,
      parentId: null,
      depth: 0,
      createdAt: NOW,
      expiresAt: null,
      ...more,
    },
    life: { ...NEW_LIFE, availableAt },
    input: Uint8Array.from([1, 2, 3]),
    idempotency: null,
  });

  async function insert(...invocations: NewInvocation[]): Promise<string[]> {
    await db.write(async (tx) => store.insert(tx, invocations));
    return invocations.map(({ identity }) => identity.id);
  }

  async function insertOne(more: Partial<NewInvocation["identity"]> = {}, availableAt = NOW): Promise<string> {
    const [id = ""] = await insert(newInvocation(more, availableAt));
    return id;
  }

  async function loadOne(id: string) {
    const [found] = await db.read((tx) => store.load(tx, [id]));
    if (found === undefined) throw new Error(`${id} is not stored`);
    return found;
  }

  /** Applies events to stored invocations, in one transaction. `release` gives back the attempt before. */
  async function happen(id: string, ...events: LifeEvent[]): Promise<Change[]> {
    return await db.write(async (tx) => {
      const working = new WorkingSet(await store.load(tx, [id]));
      for (const event of events) {
        const attempt = working.get(id)?.life.attempts ?? 0;
        if (event.type === "release") working.release(id, attempt, NOW, POLICY);
        else expect(working.apply(id, event, NOW, POLICY)).toBeUndefined();
      }
      const changes = working.changes();
      await store.save(tx, changes);
      return changes;
    });
  }

  const lease = (schedulerId = "sch-1"): LifeEvent => ({ type: "lease", executionId: ids.next("exe"), schedulerId });
  const start: LifeEvent = { type: "start", workerId: "wrk-1" };
  const threw: LifeEvent = { type: "throw", error: "Error: boom", interrupted: false, killed: false };
  const returned: LifeEvent = { type: "return", value: Uint8Array.from([9]), interrupted: false };
  const release: LifeEvent = { type: "release" };
  const queue = () => {
    const columns = 'slot_limit AS "slotLimit", used, queued';
    const sql = `SELECT ${columns} FROM queues WHERE project_id = ? AND function_name = 'f'`;
    return db.read((tx) => tx.get<Pick<QueueRow, "slotLimit" | "used" | "queued">>(sql, projectId));
  };
  const queuedIds = async (now = NOW, atMost = 100) => {
    const queued = await db.write((tx) => store.loadQueued(tx, projectId, "f", now, atMost));
    return queued.map(({ invocation }) => invocation.identity.id);
  };

  describe("an invocation", () => {
    it("comes back as it was stored, with its input, large or small", async () => {
      const parent = await insertOne();
      const small = newInvocation({ parentId: parent, depth: 1, expiresAt: NOW + 5 });
      const large = { ...newInvocation(), input: new Uint8Array(100_000).fill(7) };
      await insert(small, large);
      const loaded = await db.read((tx) => store.load(tx, [small.identity.id, large.identity.id, ids.next("inv")]));
      expect(loaded).toHaveLength(2);
      const queued = await db.write((tx) => store.loadQueued(tx, projectId, "f", NOW, 10));
      for (const { identity, life, input } of [small, large]) {
        expect(await loadOne(identity.id)).toEqual({ identity, life });
        const found = queued.find(({ invocation }) => invocation.identity.id === identity.id);
        expect(Buffer.compare(found?.input ?? new Uint8Array(), input)).toBe(0);
      }
    });

    it.each<[string, LifeEvent[]]>([
      ["leased", [lease()]],
      ["running", [lease(), start]],
      ["yielding", [lease(), start, { type: "yield", index: 3, value: Uint8Array.from([4]) }]],
      ["cancelling", [lease(), start, { type: "cancel" }]],
      ["timing out", [lease(), start, { type: "timeout" }]],
      ["between two attempts", [lease(), start, threw]],
      ["in its second attempt", [lease(), start, threw, lease(), start]],
      ["done", [lease(), start, returned, release]],
      ["cancelled", [{ type: "cancel" }]],
      ["expired", [{ type: "expire" }]],
    ])("that is %s comes back as it was saved", async (_, events) => {
      const id = await insertOne();
      const [change] = await happen(id, ...events);
      const { life } = await loadOne(id);
      expect({ ...life, result: life.result && Uint8Array.from(life.result) }).toEqual(change?.after);
    });

    it("has a result of any size, which others take the place of", async () => {
      const id = await insertOne();
      const events: LifeEvent[] = [lease(), start];
      for (const [index, size] of [10, 100_000, 200_000, 3, 512, 513, 0, 100_000].entries()) {
        const value = new Uint8Array(size).fill(index + 1);
        await happen(id, ...events.splice(0), { type: "yield", index: index + 1, value });
        const { result } = (await loadOne(id)).life;
        expect(result?.byteLength).toBe(size);
        expect(Buffer.compare(result ?? new Uint8Array(1), value)).toBe(0);
      }
      await happen(id, { type: "return", value: null, interrupted: false }, release);
      const { status, result } = (await loadOne(id)).life;
      expect([status, result?.byteLength, result?.[0]]).toEqual(["SUCCEEDED", 100_000, 8]);
    });

    it("is found in lists of any length", async () => {
      const many = await insert(...Array.from({ length: 300 }, () => newInvocation()));
      const loaded = await db.read((tx) => store.load(tx, many));
      expect(loaded.map(({ identity }) => identity.id).sort()).toEqual([...many].sort());
      expect(await db.read((tx) => store.load(tx, []))).toEqual([]);
    });

    it("that was changed meanwhile is not overwritten, and nothing else of that write is kept", async () => {
      const [id, other] = [await insertOne(), await insertOne()];
      const old = [await loadOne(id), await loadOne(other)];
      await happen(id, lease());
      const stale = new WorkingSet(old);
      for (const each of [other, id]) stale.apply(each, { type: "cancel" }, NOW, POLICY);
      await expect(db.write((tx) => store.save(tx, stale.changes()))).rejects.toBeInstanceOf(StaleLife);
      expect((await loadOne(id)).life).toMatchObject({ status: "PENDING", attempts: 1 });
      expect((await loadOne(other)).life.status).toBe("PENDING");
      expect(await queue()).toMatchObject({ used: 1, queued: 1 });
    });
  });

  describe("executions that ended", () => {
    it("are kept in their order, held until they are released", async () => {
      const id = await insertOne();
      await happen(id, lease("sch-a"), start, threw);
      await happen(id, lease("sch-b"), start, returned, release);
      const ended = await db.read((tx) => store.loadEnded(tx, id));
      expect(ended).toMatchObject([
        {
          invocationId: id,
          attemptNumber: 1,
          outcome: "FAILED",
          error: "Error: boom",
          held: true,
          schedulerId: "sch-a",
        },
        { attemptNumber: 2, outcome: "SUCCEEDED", held: false, workerId: "wrk-1", startedAt: NOW, finishedAt: NOW },
      ]);
      expect((await db.read((tx) => store.loadHeldEnded(tx, "sch-a"))).map(({ id: execution }) => execution)).toEqual([
        ended[0]?.id,
      ]);
      await db.write(async (tx) => {
        const working = new WorkingSet(await store.load(tx, [id]));
        working.release(id, 1, NOW, POLICY);
        await store.save(tx, working.changes());
      });
      expect(await db.read((tx) => store.loadHeldEnded(tx, "sch-a"))).toEqual([]);
      expect((await loadOne(id)).life).toMatchObject({ held: 0, terminated: true });
    });
  });

  describe("the execution that an invocation ended with", () => {
    const aborted: LifeEvent = { type: "throw", error: "", interrupted: true, killed: false };
    const killed: LifeEvent = { type: "throw", error: "Error: killed", interrupted: true, killed: true };
    const endings: [string, LifeEvent[]][] = [
      ["a success", [lease(), start, returned]],
      ["a success after a failure", [lease(), start, threw, { type: "release" }, lease(), start, returned]],
      ["a success that never began", [lease(), returned]],
      ["a cancellation", [lease(), start, { type: "cancel" }, aborted]],
      [
        "a cancellation after a failure",
        [lease(), start, threw, { type: "release" }, lease(), { type: "cancel" }, aborted],
      ],
      ["a cancellation by force", [lease(), start, { type: "cancel" }, killed]],
      ["a timeout", [lease(), start, { type: "timeout" }, aborted]],
    ];
    it.each(endings)("is the same whether its worker is given back with it or later: %s", async (_name, events) => {
      const [together, apart] = [await insertOne(), await insertOne()];
      await happen(together, ...events, release);
      for (const event of events) await happen(apart, event);
      await happen(apart, release);
      const [a, b] = await db.read(async (tx) => [
        await store.loadEnded(tx, together),
        await store.loadEnded(tx, apart),
      ]);
      const held = (await loadOne(together)).life.held;
      expect(a).toEqual(b.map((execution) => ({ ...execution, invocationId: together })));
      expect([a.length, held]).toEqual([events.filter(({ type }) => type === "lease").length, 0]);
      expect((await loadOne(together)).life).toEqual((await loadOne(apart)).life);
      expect((await loadOne(together)).life.current).toBeNull();
      const leased = await db.read((tx) => store.loadLeased(tx, "sch-1"));
      expect(leased.map(({ identity }) => identity.id)).not.toContain(together);
    });
  });

  describe("a queue", () => {
    it("counts what waits and what holds a slot", async () => {
      const id = await insertOne();
      await insertOne();
      expect(await queue()).toMatchObject({ used: 0, queued: 2 });
      await happen(id, lease());
      expect(await queue()).toMatchObject({ used: 1, queued: 1 });
      await happen(id, start, threw);
      expect(await queue()).toMatchObject({ used: 1, queued: 2 });
      await happen(id, lease(), returned);
      expect(await queue()).toMatchObject({ used: 2, queued: 1 });
      await happen(id, release);
      expect(await queue()).toMatchObject({ used: 1, queued: 1 });
    });

    it("has the limit of the newest version that was started", async () => {
      const newer = ids.next("ver");
      const ensure = (version: string, slotLimit: number) =>
        db.write((tx) => {
          const fn = { projectId, projectName: "p", versionId: version, functionName: "f", spec: new Uint8Array() };
          return store.ensureFunctions(tx, [{ ...fn, slotLimit }]);
        });
      await ensure(newer, 3);
      expect(await queue()).toMatchObject({ slotLimit: 3 });
      await ensure(versionId, 10);
      expect(await queue()).toMatchObject({ slotLimit: 3 });
    });

    it("gives the oldest first, and what waits out a delay when that is over", async () => {
      const [first, second, third] = await insert(newInvocation(), newInvocation(), newInvocation({}, NOW + 50));
      expect(await queuedIds()).toEqual([first, second]);
      expect(await queuedIds(NOW, 1)).toEqual([first]);
      expect(await queuedIds(NOW + 50)).toEqual([first, second, third]);
      await happen(first ?? "", lease());
      expect(await queuedIds()).toEqual([second]);
      await happen(first ?? "", threw); // it waits 5 s
      expect(await queuedIds(NOW + 4_999)).toEqual([second, third]);
      expect(await queuedIds(NOW + 5_000)).toEqual([second, third, first]);
    });

    it("is shown with the name of its project and when the first of it may begin, the longest queue first", async () => {
      const states = async (atMost = 1_000) => {
        const all = await db.read((tx) => store.queueStates(tx, atMost));
        return all.filter((state) => state.projectId === projectId);
      };
      await addFunction("other", 2);
      const common = { projectId, projectName: "p", used: 0 };
      const f = { ...common, functionName: "f", slotLimit: 10, queued: 0, firstAvailableAt: null };
      const other = { ...common, functionName: "other", slotLimit: 2, queued: 0, firstAvailableAt: null };
      expect(await states()).toEqual(expect.arrayContaining([f, other]));
      await insertOne({ functionName: "other" }, NOW + 50);
      const id = await insertOne({ functionName: "other" }, NOW + 20);
      expect(await states()).toEqual([{ ...other, queued: 2, firstAvailableAt: NOW + 20 }, f]);
      await happen(id, lease());
      expect(await states()).toEqual([{ ...other, used: 1, queued: 1, firstAvailableAt: NOW + 50 }, f]);
      expect((await db.read((tx) => store.queueStates(tx, 1))).length).toBe(1);
    });

    it("may be leased from while something waits and a slot is free", async () => {
      const leasable = async () => {
        const queues = await db.read((tx) => store.leasableQueues(tx));
        return queues.filter((row) => row.projectId === projectId).map(({ functionName }) => functionName);
      };
      await addFunction("narrow", 1);
      expect(await leasable()).toEqual([]);
      const id = await insertOne({ functionName: "narrow" });
      expect(await leasable()).toEqual(["narrow"]);
      await insertOne({ functionName: "narrow" });
      await happen(id, lease());
      expect(await leasable()).toEqual([]);
      await happen(id, returned);
      expect(await leasable()).toEqual([]);
      await happen(id, release);
      expect(await leasable()).toEqual(["narrow"]);
    });
  });

  describe("schedulers", () => {
    it("hold leases until they expire or are forgotten", async () => {
      const schedulerId = ids.next("sch");
      const renew = (until: number) => db.write((tx) => store.renewScheduler(tx, schedulerId, until));
      const expired = async (now: number) =>
        (await db.read((tx) => store.expiredSchedulers(tx, now))).includes(schedulerId);
      expect(await renew(100)).toBeNull();
      expect(await renew(200)).toBe(100);
      expect([await expired(200), await expired(201)]).toEqual([false, true]);
      const living = async (now: number) =>
        (await db.read((tx) => store.livingSchedulers(tx, now))).includes(schedulerId);
      expect([await living(200), await living(201)]).toEqual([true, false]);
      await db.write((tx) => store.holdScheduler(tx, schedulerId, 300, 1_000));
      expect([await expired(301), await expired(799)]).toEqual([false, false]);
      await db.write((tx) => store.forgetScheduler(tx, schedulerId));
      expect(await expired(1e9)).toBe(false);
      expect(await renew(300)).toBeNull();
    });

    it("have what they leased, and of that what is interrupted", async () => {
      const [one, other] = [ids.next("sch"), ids.next("sch")];
      const [a, b, c] = [await insertOne(), await insertOne(), await insertOne()];
      await happen(a, lease(one));
      await happen(b, lease(one), start, { type: "cancel" });
      await happen(c, lease(other));
      const idsOf = (found: readonly { identity: { id: string } }[]) => found.map(({ identity }) => identity.id).sort();
      expect(idsOf(await db.read((tx) => store.loadLeased(tx, one)))).toEqual([a, b].sort());
      expect(idsOf(await db.read((tx) => store.loadInterrupted(tx, one)))).toEqual([b]);
      await happen(b, threw);
      expect(await db.read((tx) => store.loadInterrupted(tx, one))).toEqual([]);
    });
  });

  describe("deadlines", () => {
    it("are found when they are due, the earliest first", async () => {
      const late = await insertOne({ expiresAt: NOW - 10 });
      const running = await insertOne();
      const scheduler = ids.next("sch");
      await db.write((tx) => store.renewScheduler(tx, scheduler, NOW + 1_500));
      await happen(running, lease(scheduler), start); // its timeout is 1 s
      const expired = await db.read((tx) => store.loadExpired(tx, NOW, 100));
      expect(expired.map(({ identity }) => identity.id)).toContain(late);
      expect(await db.read((tx) => store.nextDeadline(tx))).toBeLessThanOrEqual(NOW - 10);
      const due = async (now: number) =>
        (await db.read((tx) => store.loadPastDeadline(tx, now, 100))).map(({ identity }) => identity.id);
      expect(await due(NOW + 999)).not.toContain(running);
      expect(await due(NOW + 1_000)).toContain(running);
      expect(await due(NOW + 1_501)).not.toContain(running); // its scheduler's lease is over: it is lost
      await happen(running, { type: "timeout" });
      expect(await due(NOW + 1_000)).not.toContain(running);
      const areExpired = async () =>
        (await db.read((tx) => store.loadExpired(tx, NOW, 100))).map(({ identity }) => identity.id);
      const begun = await insertOne({ expiresAt: NOW - 10 });
      await happen(begun, lease());
      await happen(late, lease());
      expect(await areExpired()).toEqual(expect.arrayContaining([late, begun]));
      await happen(begun, start);
      await happen(late, { type: "expire" });
      expect((await areExpired()).filter((id) => [late, begun].includes(id))).toEqual([]);
    });
  });

  testStoredLists({
    ids,
    get db() {
      return db;
    },
    get store() {
      return store;
    },
    get projectId() {
      return projectId;
    },
    get versionId() {
      return versionId;
    },
    changeProject: () => {
      projectId = ids.next("prj");
      versionId = ids.next("ver");
    },
    addFunction,
    newInvocation,
    insert,
    insertOne,
    loadOne,
    happen,
    queue,
  });
}
