import { describe } from "vitest";
import { openTestDatabase } from "../../test/harness/test_database.js";
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
