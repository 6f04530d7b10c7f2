/** What every implementation of the invocation store must do. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../platform/clock.js";
import { IdSource } from "../platform/ids.js";
import type { Db } from "../platform/store/db.js";
import { type LifePolicy, NEW_LIFE } from "./domain/life.js";
import type { LifeEvent } from "./domain/transitions.js";
import { type Change, type InvocationStore, type ListFilter, type NewInvocation, StaleLife } from "./store.js";
import { WorkingSet } from "./working_set.js";

const POLICY: LifePolicy = { timeoutMs: 1_000, maxRetries: 3, retryDelayMs: () => 5_000 };
const NOW = 1_000_000;

type Page = Awaited<ReturnType<InvocationStore["list"]>>;

/** `open` answers an empty database with the tables of the store's migrations. */
export function testInvocationStore(
  open: () => Promise<{ readonly db: Db; readonly store: InvocationStore; close(): Promise<void> }>,
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
      await store.putFunction(tx, { projectId, projectName: "p", versionId, functionName, spec });
      await store.ensureQueue(tx, { projectId, functionName, slotLimit, versionId });
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
    await db.write((tx) => store.insert(tx, invocations));
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
  const queue = async (functionName = "f") => {
    const row = await db.read((tx) => store.queue(tx, projectId, functionName));
    return row && { used: row.used, queued: row.queued, slotLimit: row.slotLimit };
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
      for (const { identity, life, input } of [small, large]) {
        expect(await loadOne(identity.id)).toEqual({ identity, life });
        const stored = await db.read((tx) => store.loadInput(tx, identity.id));
        expect(Buffer.compare(stored, input)).toBe(0);
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
        db.write((tx) => store.ensureQueue(tx, { projectId, functionName: "f", slotLimit, versionId: version }));
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

    it("gives the input with each", async () => {
      await insert({ ...newInvocation(), input: new Uint8Array(5_000).fill(3) }, newInvocation());
      const queued = await db.write((tx) => store.loadQueued(tx, projectId, "f", NOW, 10));
      expect(queued.map(({ input }) => input.byteLength)).toEqual([5_000, 3]);
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
      expect(await renew(100)).toEqual({ before: null });
      expect(await renew(200)).toEqual({ before: 100 });
      expect([await expired(200), await expired(201)]).toEqual([false, true]);
      await db.write((tx) => store.holdScheduler(tx, schedulerId, 300, 1_000));
      expect([await expired(301), await expired(799)]).toEqual([false, false]);
      await db.write((tx) => store.forgetScheduler(tx, schedulerId));
      expect(await expired(1e9)).toBe(false);
      expect(await renew(300)).toEqual({ before: null });
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
      await happen(running, lease(), start); // its timeout is 1 s
      const expired = await db.read((tx) => store.loadExpired(tx, NOW, 100));
      expect(expired.map(({ identity }) => identity.id)).toContain(late);
      expect(await db.read((tx) => store.nextDeadline(tx))).toBeLessThanOrEqual(NOW - 10);
      const due = async (now: number) =>
        (await db.read((tx) => store.loadPastDeadline(tx, now, 100))).map(({ identity }) => identity.id);
      expect(await due(NOW + 999)).not.toContain(running);
      expect(await due(NOW + 1_000)).toContain(running);
      await happen(running, { type: "timeout" });
      expect(await due(NOW + 1_000)).not.toContain(running);
      await happen(late, lease());
      expect((await db.read((tx) => store.loadExpired(tx, NOW, 100))).map(({ identity }) => identity.id)).not.toContain(
        late,
      );
    });
  });

  describe("a listing", () => {
    const filter = (more: Partial<ListFilter> = {}): ListFilter => ({
      projectId,
      functionName: "",
      versionId: "",
      statuses: [],
      parentId: "",
      createdFrom: null,
      createdBefore: null,
      ...more,
    });

    async function all(given: ListFilter, pageSize: number): Promise<string[]> {
      const seen: string[] = [];
      let position: string | null = null;
      do {
        const before: string | null = position;
        const page: Page = await db.read((tx) => store.list(tx, given, before, pageSize));
        expect(page.items.length).toBeLessThanOrEqual(pageSize);
        seen.push(...page.items.map(({ identity }) => identity.id));
        position = page.position;
      } while (position !== null);
      return seen;
    }

    it("is newest first, each once, whatever is the size of a page and whatever arrives meanwhile", async () => {
      await addFunction("g", 1);
      const there: string[] = [];
      for (let index = 0; index < 23; index++) there.unshift(await insertOne({ functionName: index % 3 ? "f" : "g" }));
      for (const pageSize of [1, 7, 22, 23, 24, 100]) expect(await all(filter(), pageSize)).toEqual(there);
      const first = await db.read((tx) => store.list(tx, filter(), null, 10));
      await insertOne();
      await happen(there[15] ?? "", { type: "cancel" });
      const rest = await db.read((tx) => store.list(tx, filter(), first.position, 100));
      expect([...first.items, ...rest.items].map(({ identity }) => identity.id)).toEqual(there);
    });

    it("knows functions, statuses, versions, parents and projects", async () => {
      await addFunction("g", 1);
      const [a, b] = [await insertOne(), await insertOne({ functionName: "g" })];
      const child = await insertOne({ parentId: a, depth: 1 });
      await happen(b, { type: "cancel" });
      expect(await all(filter({ functionName: "f" }), 2)).toEqual([child, a]);
      expect(await all(filter({ statuses: ["CANCELLED"] }), 2)).toEqual([b]);
      expect(await all(filter({ statuses: ["CANCELLED", "PENDING"] }), 2)).toEqual([child, b, a]);
      expect(await all(filter({ parentId: a }), 2)).toEqual([child]);
      expect(await all(filter({ parentId: a, functionName: "g" }), 2)).toEqual([]);
      expect(await all(filter({ versionId }), 2)).toEqual([child, b, a]);
      expect(await all(filter({ versionId: ids.next("ver") }), 2)).toEqual([]);
      expect(await all(filter({ projectId: ids.next("prj") }), 2)).toEqual([]);
      expect(await all(filter({ createdFrom: Date.now() + 60_000 }), 2)).toEqual([]);
      expect(await all(filter({ createdBefore: Date.now() - 60_000 }), 2)).toEqual([]);
      expect(
        await all(filter({ createdFrom: Date.now() - 60_000, createdBefore: Date.now() + 60_000 }), 2),
      ).toHaveLength(3);
    });
  });

  describe("descendants", () => {
    it("are found however deep, through finished ones too, until their cancellation is asked for", async () => {
      const root = await insertOne();
      const child = await insertOne({ parentId: root, depth: 1 });
      const grandchild = await insertOne({ parentId: child, depth: 2 });
      await insertOne(); // of nobody
      const found = async () =>
        (await db.read((tx) => store.loadUncancelledDescendants(tx, root, 100)))
          .map(({ identity }) => identity.id)
          .sort();
      expect(await found()).toEqual([child, grandchild].sort());
      await happen(child, lease(), returned, release);
      expect(await found()).toEqual([grandchild]);
      await happen(grandchild, lease(), { type: "cancel" });
      expect(await found()).toEqual([]);
    });
  });

  describe("idempotency keys", () => {
    it("are of one project, and are forgotten in time", async () => {
      const bodyHash = Uint8Array.from([5, 6]);
      const invocation = { ...newInvocation(), idempotency: { key: "k", bodyHash } };
      await insert(invocation);
      const find = (project: string) => db.read((tx) => store.findIdempotent(tx, project, "k"));
      const found = await find(projectId);
      expect(found).toMatchObject({ id: invocation.identity.id, createdAt: NOW });
      expect(Uint8Array.from(found?.bodyHash ?? [])).toEqual(bodyHash);
      expect(await find(ids.next("prj"))).toBeUndefined();
      const again = { ...newInvocation(), idempotency: { key: "k", bodyHash } };
      await expect(insert(again)).rejects.toBeInstanceOf(Error);
      await db.write((tx) => store.forgetIdempotencyKey(tx, projectId, "k"));
      expect(await find(projectId)).toBeUndefined();
      await insert(again);
      await db.write((tx) => store.forgetRequests(tx, NOW));
      expect(await find(projectId)).toBeDefined();
      await db.write((tx) => store.forgetRequests(tx, NOW + 1));
      expect(await find(projectId)).toBeUndefined();
    });
  });

  describe("a project that goes", () => {
    it("is purged in parts, wholly, and touches no other", async () => {
      const kept = await insertOne();
      const keptProject = projectId;
      projectId = ids.next("prj");
      versionId = ids.next("ver");
      await addFunction("f", 10);
      const gone = await insert(...Array.from({ length: 7 }, () => newInvocation()));
      const terminated = () => db.read((tx) => store.isProjectTerminated(tx, projectId));
      const uncancelled = () => db.read((tx) => store.loadUncancelledOfProject(tx, projectId, 100));
      expect([await terminated(), (await uncancelled()).length]).toEqual([false, 7]);
      await happen(gone[0] ?? "", lease());
      for (const id of gone.slice(1)) await happen(id, { type: "cancel" });
      expect([await terminated(), (await uncancelled()).length]).toEqual([false, 1]);
      await happen(gone[0] ?? "", { type: "cancel" }, threw);
      expect([await terminated(), (await uncancelled()).length]).toEqual([false, 0]);
      await happen(gone[0] ?? "", release);
      expect(await terminated()).toBe(true);
      let rounds = 0;
      while (await db.write((tx) => store.purgeProject(tx, projectId, 3))) expect(++rounds).toBeLessThan(10);
      expect(await db.read((tx) => store.load(tx, gone))).toEqual([]);
      expect(await queue()).toBeUndefined();
      expect((await loadOne(kept)).identity.projectId).toBe(keptProject);
    });

    it("is cancelled for ever", async () => {
      const isCancelled = () => db.read((tx) => store.isProjectCancelled(tx, projectId));
      expect(await isCancelled()).toBe(false);
      for (let time = 0; time < 2; time++) await db.write((tx) => store.cancelProject(tx, projectId));
      expect(await isCancelled()).toBe(true);
    });
  });

  describe("the rest", () => {
    it("keeps what was answered to a request", async () => {
      const request = {
        requestId: ids.next("inv"),
        bodyHash: Uint8Array.from([1]),
        outcomes: Uint8Array.from([2]),
        createdAt: 7,
      };
      await db.write((tx) => store.putRequest(tx, request));
      const found = await db.read((tx) => store.findRequest(tx, request.requestId));
      expect([...(found?.bodyHash ?? []), ...(found?.outcomes ?? [])]).toEqual([1, 2]);
      await db.write((tx) => store.forgetRequests(tx, 8));
      expect(await db.read((tx) => store.findRequest(tx, request.requestId))).toBeUndefined();
    });

    it("keeps lines in their order, each number once", async () => {
      const executionId = ids.next("exe");
      const line = (lineNumber: number, text: string) => ({
        executionId,
        lineNumber,
        timeMs: 1,
        stream: 1,
        level: "",
        text,
      });
      await db.write((tx) => store.appendLogs(tx, [line(2, "b"), line(1, "a")]));
      await db.write((tx) => store.appendLogs(tx, [line(2, "again"), line(3, "c")]));
      const texts = async (after: number, atMost: number) =>
        (await db.read((tx) => store.loadLogs(tx, executionId, after, atMost))).map(({ text }) => text);
      expect(await texts(0, 10)).toEqual(["a", "b", "c"]);
      expect(await texts(1, 1)).toEqual(["b"]);
    });

    it("makes a secret once", async () => {
      const secret = (byte: number) => db.write((tx) => store.secret(tx, "s", () => new Uint8Array(4).fill(byte)));
      expect(Buffer.compare(await secret(1), await secret(2))).toBe(0);
    });

    it("counts children, and remembers cancellations that go on", async () => {
      const id = await insertOne();
      await db.write((tx) => store.addChildren(tx, id, 2));
      await db.write((tx) => store.addChildren(tx, id, 3));
      expect(await db.read((tx) => store.countChildren(tx, id))).toBe(5);
      for (let time = 0; time < 2; time++) await db.write((tx) => store.putCascade(tx, id));
      expect(await db.read((tx) => store.loadCascades(tx, 10))).toEqual([id]);
      await db.write((tx) => store.forgetCascade(tx, id));
      expect(await db.read((tx) => store.loadCascades(tx, 10))).toEqual([]);
    });
  });
}
