import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe } from "vitest";
import { openSqlite } from "../platform/store/sqlite.js";
import { MIGRATIONS } from "./sql/schema.js";
import { createSqlStore } from "./sql/store.js";
import { testInvocationStore } from "./store.contract.js";

describe("on SQLite", () => {
  testInvocationStore(async () => {
    const folder = await mkdtemp(join(tmpdir(), "multinode-store-"));
    const db = await openSqlite(join(folder, "invocation.db"), MIGRATIONS);
    const close = async () => {
      await db.close();
      await rm(folder, { recursive: true, force: true });
    };
    return { db, store: createSqlStore(), close };
  });
});
