/** What every implementation of the invocation store must do with what is listed, looked up and removed. */
import { describe, expect, it } from "vitest";
import type { IdSource } from "../platform/ids.js";
import type { Db } from "../platform/store/db.js";
import type { LifeEvent } from "./domain/transitions.js";
import type { Change, InvocationStore, ListFilter, NewInvocation, QueueRow, StoredInvocation } from "./store.js";

/** A project of the test that runs, and what may be done in it. */
export interface StoreFixture {
  readonly db: Db;
  readonly store: InvocationStore;
  readonly ids: IdSource;
  readonly projectId: string;
  readonly versionId: string;
  readonly changeProject: () => void;
  readonly addFunction: (functionName: string, slotLimit: number) => Promise<void>;
  readonly newInvocation: (identity?: Partial<NewInvocation["identity"]>) => NewInvocation;
  readonly insert: (...invocations: NewInvocation[]) => Promise<string[]>;
  readonly insertOne: (identity?: Partial<NewInvocation["identity"]>) => Promise<string>;
  readonly loadOne: (id: string) => Promise<StoredInvocation>;
  readonly happen: (id: string, ...events: LifeEvent[]) => Promise<Change[]>;
  readonly queue: () => Promise<Pick<QueueRow, "used" | "queued" | "slotLimit"> | undefined>;
}

type Page = Awaited<ReturnType<InvocationStore["list"]>>;

/** When the invocations of the fixture were made. */
const NOW = 1_000_000;

export function testStoredLists(given: StoreFixture): void {
  const { ids, addFunction, newInvocation, insert, insertOne, loadOne, happen, queue } = given;
  const lease = (): LifeEvent => ({ type: "lease", executionId: ids.next("exe"), schedulerId: "sch-1" });
  const threw: LifeEvent = { type: "throw", error: "Error: boom", interrupted: false, killed: false };
  const returned: LifeEvent = { type: "return", value: Uint8Array.from([9]), interrupted: false };
  const release: LifeEvent = { type: "release" };

  describe("a listing", () => {
    const filter = (more: Partial<ListFilter> = {}): ListFilter => ({
      projectId: given.projectId,
      functionName: "",
      versionId: "",
      statuses: [],
      parentId: "",
      createdFrom: null,
      createdBefore: null,
      ...more,
    });

    async function all(filtered: ListFilter, pageSize: number): Promise<string[]> {
      const seen: string[] = [];
      let position: string | null = null;
      do {
        const before: string | null = position;
        const page: Page = await given.db.read((tx) => given.store.list(tx, filtered, before, pageSize));
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
      const first = await given.db.read((tx) => given.store.list(tx, filter(), null, 10));
      await insertOne();
      await happen(there[15] ?? "", { type: "cancel" });
      const rest = await given.db.read((tx) => given.store.list(tx, filter(), first.position, 100));
      expect([...first.items, ...rest.items].map(({ identity }) => identity.id)).toEqual(there);
    });

    it("is merged where many functions have little and one has much, and reads little more than it gives", async () => {
      const names = Array.from({ length: 20 }, (_, index) => `f${index}`);
      for (const name of names) await addFunction(name, 1);
      const functionOf = (index: number) => (index % 3 === 0 ? (names[(index / 3) % names.length] ?? "") : "f");
      const many = Array.from({ length: 900 }, (_, index) => newInvocation({ functionName: functionOf(index) }));
      const newestFirst = (await insert(...many)).toReversed();
      for (const pageSize of [50, 899, 900, 1_000]) expect(await all(filter(), pageSize)).toEqual(newestFirst);
      const cancelled = newestFirst.filter((_, index) => index % 100 === 0);
      for (const id of cancelled) await happen(id, { type: "cancel" });
      for (const pageSize of [1, 8, 100]) {
        expect(await all(filter({ statuses: ["CANCELLED"] }), pageSize)).toEqual(cancelled);
      }
      const page = await given.db.read((tx) => given.store.list(tx, filter(), null, 50));
      expect([page.items.length, page.looked < 500]).toEqual([50, true]);
    });

    it("has no results", async () => {
      const id = await insertOne();
      await happen(id, lease(), returned, release);
      expect((await loadOne(id)).life.result).not.toBeNull();
      const { items } = await given.db.read((tx) => given.store.list(tx, filter(), null, 10));
      expect(items.map(({ life }) => [life.status, life.result])).toEqual([["SUCCEEDED", null]]);
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
      expect(await all(filter({ parentId: a, functionName: "f" }), 2)).toEqual([child]);
      expect(await all(filter({ parentId: a, projectId: ids.next("prj") }), 2)).toEqual([]);
      expect(await all(filter({ versionId: given.versionId }), 2)).toEqual([child, b, a]);
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
        (await given.db.read((tx) => given.store.loadUncancelledDescendants(tx, root, 100)))
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
      const find = (project: string) => given.db.read((tx) => given.store.findIdempotent(tx, project, "k"));
      const found = await find(given.projectId);
      expect(found).toMatchObject({ id: invocation.identity.id, createdAt: NOW });
      expect(Uint8Array.from(found?.bodyHash ?? [])).toEqual(bodyHash);
      expect(await find(ids.next("prj"))).toBeUndefined();
      const again = { ...newInvocation(), idempotency: { key: "k", bodyHash } };
      await expect(insert(again)).rejects.toBeInstanceOf(Error);
      await given.db.write((tx) => given.store.forgetIdempotencyKey(tx, given.projectId, "k"));
      expect(await find(given.projectId)).toBeUndefined();
      await insert(again);
      await forgetRequests(NOW);
      expect(await find(given.projectId)).toBeDefined();
      await forgetRequests(NOW + 1);
      expect(await find(given.projectId)).toBeUndefined();
    });
  });

  async function forgetRequests(createdBefore: number): Promise<void> {
    while (await given.db.write((tx) => given.store.forgetRequests(tx, createdBefore, 10)));
  }

  /** Lines of the current execution, whose id it answers. */
  async function printLines(invocationId: string, count = 1): Promise<string> {
    const executionId = (await loadOne(invocationId)).life.current?.id ?? "";
    const line = { executionId, timeMs: NOW, stream: 1, level: "", text: "a line", printed: 0 };
    const lines = Array.from({ length: count }, (_, index) => ({ ...line, lineNumber: index + 1 }));
    await given.db.write((tx) => given.store.appendLogs(tx, lines));
    return executionId;
  }

  const linesOf = async (executionId: string) =>
    (await given.db.read((tx) => given.store.loadLogs(tx, executionId, 0, 100))).length;

  describe("what ended long ago", () => {
    const old = (afterId: string, atMost: number) =>
      given.db.read((tx) => given.store.loadOld(tx, Date.now() + 60_000, afterId, atMost));
    const remove = (removed: readonly string[], rows: number) =>
      given.db.write((tx) => given.store.removeInvocations(tx, removed, rows));
    const left = async (...looked: string[]) => {
      const there = await given.db.read((tx) => given.store.load(tx, looked));
      return looked.map((id) => there.some(({ identity }) => identity.id === id));
    };

    it("is found in parts, without what goes on, holds a worker or has children", async () => {
      const before = await insertOne();
      const [done, waiting, held, parent] = [
        await insertOne(),
        await insertOne(),
        await insertOne(),
        await insertOne(),
      ];
      const child = await insertOne({ parentId: parent, depth: 1 });
      for (const id of [done, parent, child]) await happen(id, { type: "cancel" });
      await happen(held, lease(), returned);
      expect(await old(before, 3)).toEqual({ ids: [done], position: held });
      expect(await old(held, 2)).toEqual({ ids: [child], position: child });
      expect(await old(child, 2)).toEqual({ ids: [], position: null });
      expect(await remove([done, child], 10)).toBe(2);
      expect(await old(before, 5)).toEqual({ ids: [parent], position: null });
      expect(await left(done, waiting, held, parent, child)).toEqual([false, true, true, true, false]);
    });

    it("is removed of so many lines and pages at once, in its order, with all that belongs to it", async () => {
      const chatty = await insertOne();
      const [heavy = ""] = await insert({ ...newInvocation(), input: new Uint8Array(20_000) });
      const light = await insertOne();
      await happen(chatty, lease());
      const printed = await printLines(chatty, 6);
      await happen(chatty, threw, release);
      await happen(chatty, lease(), returned, release);
      await happen(heavy, lease(), { ...returned, value: new Uint8Array(20_000) }, release);
      await happen(light, { type: "cancel" });
      // Two executions, six lines and one invocation are nine rows; the heavy one counts as ten and its execution.
      expect(await remove([chatty, heavy, light], 12)).toBe(1);
      expect(await left(chatty, heavy, light)).toEqual([false, true, true]);
      expect(await linesOf(printed)).toBe(0);
      // Those that somebody else has removed are done with.
      expect(await remove([chatty, heavy, light], 11)).toBe(2);
      expect(await remove([chatty, heavy, light], 11)).toBe(3);
      expect(await left(chatty, heavy, light)).toEqual([false, false, false]);
      for (const table of ["executions", "large_inputs", "large_results"]) {
        const sql = `SELECT invocation_id FROM ${table} WHERE invocation_id IN (?, ?)`;
        expect(await given.db.read((tx) => tx.all(sql, chatty, heavy))).toEqual([]);
      }
    });

    it("is removed part by part where one execution has printed more than is removed at once", async () => {
      const [chatty, next] = [await insertOne(), await insertOne()];
      await happen(chatty, lease());
      const printed = await printLines(chatty, 30);
      await happen(chatty, returned, release);
      await happen(next, { type: "cancel" });
      expect(await remove([chatty, next], 10)).toBe(0);
      expect([await linesOf(printed), ...(await left(chatty, next))]).toEqual([0, true, true]);
      expect(await remove([chatty, next], 10)).toBe(2);
    });
  });

  describe("a project that goes", () => {
    it("is purged in parts, wholly, and touches no other", async () => {
      const kept = await insertOne();
      const keptProject = given.projectId;
      given.changeProject();
      await addFunction("f", 10);
      const gone = await insert(...Array.from({ length: 7 }, () => newInvocation()));
      const terminated = () => given.db.read((tx) => given.store.isProjectTerminated(tx, given.projectId));
      const uncancelled = () => given.db.read((tx) => given.store.loadUncancelledOfProject(tx, given.projectId, 100));
      expect([await terminated(), (await uncancelled()).length]).toEqual([false, 7]);
      await happen(gone[0] ?? "", lease());
      await happen(gone[1] ?? "", lease());
      const printed = [await printLines(gone[0] ?? ""), await printLines(gone[1] ?? "")];
      await happen(gone[1] ?? "", { ...returned, value: new Uint8Array(10_000) }, release);
      for (const id of gone.slice(2)) await happen(id, { type: "cancel" });
      expect([await terminated(), (await uncancelled()).length]).toEqual([false, 1]);
      await happen(gone[0] ?? "", { type: "cancel" }, threw);
      expect([await terminated(), (await uncancelled()).length]).toEqual([false, 0]);
      await happen(gone[0] ?? "", release);
      expect(await terminated()).toBe(true);
      let rounds = 0;
      while (await given.db.write((tx) => given.store.purgeProject(tx, given.projectId, { invocations: 3, rows: 100 })))
        expect(++rounds).toBeLessThan(10);
      expect(await given.db.read((tx) => given.store.load(tx, gone))).toEqual([]);
      for (const id of printed) expect(await linesOf(id)).toBe(0);
      const largeResults = "SELECT result FROM large_results WHERE invocation_id = ?";
      expect(await given.db.read((tx) => tx.all(largeResults, gone[1] ?? ""))).toEqual([]);
      expect(await queue()).toBeUndefined();
      expect((await loadOne(kept)).identity.projectId).toBe(keptProject);
    });

    it("is purged of so many lines at once, and of an invocation when none of its are left", async () => {
      const [chatty, quiet] = [await insertOne(), await insertOne()];
      const printed: string[] = [];
      for (const lines of [0, 30, 6, 4]) {
        await happen(chatty, lease());
        printed.push(await printLines(chatty, lines));
        await happen(chatty, lines === 4 ? returned : threw, release);
      }
      await happen(quiet, lease());
      printed.push(await printLines(quiet, 1));
      await happen(quiet, returned, release);
      const purge = () =>
        given.db.write((tx) => given.store.purgeProject(tx, given.projectId, { invocations: 10, rows: 12 }));
      const left = async () => Promise.all(printed.map(linesOf));
      let [before, rounds] = [await left(), 0];
      while (await purge()) {
        const after = await left();
        const removed = before.map((lines, index) => lines - (after[index] ?? 0));
        // More only where that is one execution's.
        if (Math.max(...removed) <= 12) expect(removed.reduce((sum, lines) => sum + lines)).toBeLessThanOrEqual(12);
        else expect(removed.filter((lines) => lines > 0)).toEqual([30]);
        const there = await given.db.read((tx) => given.store.load(tx, [chatty]));
        if (there.length === 0) expect(after.slice(0, 4)).toEqual([0, 0, 0, 0]);
        before = after;
        expect(++rounds).toBeLessThan(10);
      }
      expect(rounds).toBeGreaterThan(2);
      expect(before).toEqual([0, 0, 0, 0, 0]);
      expect(await given.db.read((tx) => given.store.load(tx, [chatty, quiet]))).toEqual([]);
    });

    it("is purged of so many idempotency keys and functions at once", async () => {
      const bodyHash = Uint8Array.from([1]);
      for (const key of ["a", "b", "c", "d", "e"]) {
        const id = ids.next("inv");
        await insert({ ...newInvocation({ id }), idempotency: { key, bodyHash } });
        await happen(id, { type: "cancel" });
      }
      for (const name of ["g", "h", "i"]) await addFunction(name, 1);
      const left = async () => {
        const keys = ["a", "b", "c", "d", "e"].map((key) =>
          given.db.read((tx) => given.store.findIdempotent(tx, given.projectId, key)),
        );
        const functions = ["f", "g", "h", "i"].map((name) =>
          given.db.read((tx) => given.store.loadSpec(tx, given.versionId, name)),
        );
        return (await Promise.all([...keys, ...functions])).filter((row) => row !== undefined).length;
      };
      let [before, rounds] = [await left(), 0];
      expect(before).toBe(9);
      let more = true;
      while (more) {
        more = await given.db.write((tx) =>
          given.store.purgeProject(tx, given.projectId, { invocations: 10, rows: 2 }),
        );
        const after = await left();
        expect(before - after).toBeLessThanOrEqual(3); // the last key, and then functions
        before = after;
        expect(++rounds).toBeLessThan(20);
      }
      expect([before, await queue()]).toEqual([0, undefined]);
    });

    it("is cancelled for ever", async () => {
      const isCancelled = () => given.db.read((tx) => given.store.isProjectCancelled(tx, given.projectId));
      expect(await isCancelled()).toBe(false);
      for (let time = 0; time < 2; time++) await given.db.write((tx) => given.store.cancelProject(tx, given.projectId));
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
      await given.db.write(async (tx) => given.store.putRequest(tx, request));
      const found = await given.db.read((tx) => given.store.findRequest(tx, request.requestId));
      expect([...(found?.bodyHash ?? []), ...(found?.outcomes ?? [])]).toEqual([1, 2]);
      await forgetRequests(8);
      expect(await given.db.read((tx) => given.store.findRequest(tx, request.requestId))).toBeUndefined();
    });

    it("forgets so many requests at once", async () => {
      const requestIds = Array.from({ length: 5 }, () => ids.next("inv"));
      const bytes = Uint8Array.from([1]);
      await given.db.write(async (tx) => {
        for (const requestId of requestIds) {
          given.store.putRequest(tx, { requestId, bodyHash: bytes, outcomes: bytes, createdAt: 5 });
        }
      });
      const known = async () => {
        const found = requestIds.map((id) => given.db.read((tx) => given.store.findRequest(tx, id)));
        return (await Promise.all(found)).filter((request) => request !== undefined).length;
      };
      const forget = () => given.db.write((tx) => given.store.forgetRequests(tx, 6, 2));
      const seen = [];
      for (let round = 0; round < 3; round++) seen.push([await forget(), await known()]);
      expect(seen).toEqual([
        [true, 3],
        [true, 1],
        [false, 0],
      ]);
    });

    it("keeps lines in their order, each number once", async () => {
      const executionId = ids.next("exe");
      const line = (lineNumber: number, text: string, printed = 0) => ({
        executionId,
        lineNumber,
        timeMs: 1,
        stream: 1,
        level: "",
        text,
        printed,
      });
      await given.db.write((tx) => given.store.appendLogs(tx, [line(2, "b"), line(1, "a")]));
      await given.db.write((tx) => given.store.appendLogs(tx, [line(2, "again"), line(3, "c")]));
      const texts = async (after: number, atMost: number) =>
        (await given.db.read((tx) => given.store.loadLogs(tx, executionId, after, atMost))).map(({ text }) => text);
      expect(await texts(0, 10)).toEqual(["a", "b", "c"]);
      expect(await texts(1, 1)).toEqual(["b"]);
      await given.db.write((tx) => given.store.appendLogs(tx, [line(4, "d", 1), line(5, "e"), line(6, "f", 1)]));
      const states = await given.db.read((tx) => given.store.logStates(tx, [executionId, ids.next("exe")]));
      expect(states).toEqual([{ executionId, lastLine: 6, printedLines: 2 }]);
    });

    it("makes a secret once", async () => {
      const secret = (byte: number) =>
        given.db.write((tx) => given.store.secret(tx, "s", () => new Uint8Array(4).fill(byte)));
      expect(Buffer.compare(await secret(1), await secret(2))).toBe(0);
    });

    it("counts children, and remembers cancellations that go on", async () => {
      const id = await insertOne();
      await given.db.write(async (tx) => given.store.addChildren(tx, id, 2));
      await given.db.write(async (tx) => given.store.addChildren(tx, id, 3));
      expect(await given.db.read((tx) => given.store.countChildren(tx, id))).toBe(5);
      for (let time = 0; time < 2; time++) await given.db.write((tx) => given.store.putCascade(tx, id));
      expect(await given.db.read((tx) => given.store.loadCascades(tx, 10))).toEqual([id]);
      await given.db.write((tx) => given.store.forgetCascade(tx, id));
      expect(await given.db.read((tx) => given.store.loadCascades(tx, 10))).toEqual([]);
    });
  });
}
