import { describe, expect, it } from "vitest";
import { openTestDatabase } from "../../test/harness/test_database.js";
import { STATUS_CODE } from "./sql/codes.js";
import { MIGRATIONS } from "./sql/schema.js";
import { createSqlStore } from "./sql/store.js";
import { testInvocationStore } from "./store.contract.js";

describe("the store of invocations", () => {
  testInvocationStore(async () => {
    const { db, remove } = await openTestDatabase(MIGRATIONS);
    const close = async () => {
      await db.close();
      await remove();
    };
    return { db, store: createSqlStore(), close };
  });
});

describe("a database from before large results were put apart", () => {
  it("has its results, and goes on with what was running", async () => {
    const { db: older, again, remove } = await openTestDatabase(MIGRATIONS.slice(0, 2));
    const store = createSqlStore();
    const names = { projectId: "prj-1", projectName: "p", versionId: "ver-1", functionName: "f" };
    const [finished, running] = ["inv-1", "inv-2"];
    const result = new Uint8Array(2_000).fill(1);
    await older.write(async (tx) => {
      await store.ensureFunctions(tx, [{ ...names, spec: new Uint8Array(1), slotLimit: 5 }]);
      const insert = `INSERT INTO invocations (id, function_key, queue_key, depth, created_at, status, result)
        SELECT ?, function_key, queue_key, 0, 1, ?, ? FROM functions, queues`;
      await tx.run(insert, finished, STATUS_CODE.SUCCEEDED, result);
      await tx.run(insert, running, STATUS_CODE.RUNNING, result);
    });
    await older.close();

    const db = await again(MIGRATIONS);
    const loaded = () => db.read((tx) => store.load(tx, [finished, running]));
    const stored = await loaded();
    for (const { life } of stored) expect(Buffer.compare(life.result ?? new Uint8Array(), result)).toBe(0);
    for (const bytes of [3_000, 3]) {
      const [, { identity, life: before } = expect.fail()] = await loaded();
      const after = { ...before, revision: before.revision + 1, result: new Uint8Array(bytes) };
      await db.write((tx) => store.save(tx, [{ identity, before, after, ended: [], released: [] }]));
      expect((await loaded()).map(({ life }) => life.result?.byteLength)).toEqual([2_000, bytes]);
    }
    await db.close();
    await remove();
  });
});
