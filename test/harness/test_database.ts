/**
 * An empty database for a test: on the PostgreSQL that the global setup of the vitest project has started, or else on SQLite in
 * a temporary folder.
 */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { inject } from "vitest";
import type { Db, Migration } from "../../services/platform/store/db.js";
import { openPostgres } from "../../services/platform/store/postgres.js";
import { openSqlite } from "../../services/platform/store/sqlite.js";

declare module "vitest" {
  interface ProvidedContext {
    /** Absent: the tests of this project run on SQLite. */
    readonly postgresUrl?: string;
  }
}

export interface TestDatabase {
  readonly db: Db;
  /** Opens the same database once more, as another process does; with other migrations, as one of another version does. */
  readonly again: (migrations?: readonly Migration[]) => Promise<Db>;
  /** Removes it. What was opened is to be closed before. */
  readonly remove: () => Promise<void>;
}

export async function openTestDatabase(migrations: readonly Migration[]): Promise<TestDatabase> {
  const url = inject("postgresUrl");
  if (url === undefined) return await openTestSqlite(migrations);
  const schema = `test_${randomBytes(8).toString("hex")}`;
  const again = (others = migrations) => openPostgres({ url, schema }, others);
  const remove = async () => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query(`DROP SCHEMA ${schema} CASCADE`);
    await client.end();
  };
  return { db: await again(), again, remove };
}

async function openTestSqlite(migrations: readonly Migration[]): Promise<TestDatabase> {
  const folder = await mkdtemp(join(tmpdir(), "multinode-database-"));
  const again = (others = migrations) => openSqlite(join(folder, "test.db"), others);
  return { db: await again(), again, remove: () => rm(folder, { recursive: true, force: true }) };
}
