/** Migrations of PostgreSQL, by several processes and while others go on. */
import { randomBytes } from "node:crypto";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, inject, it } from "vitest";
import { MIGRATIONS } from "../../services/invocation/sql/schema.js";
import type { Db, Migration } from "../../services/platform/store/db.js";
import { openPostgres } from "../../services/platform/store/postgres.js";
import { registryMigrations } from "../../services/registry/sql/schema.js";
import { TEST_MIGRATIONS } from "../contract/db.contract.js";
import "../harness/test_database.js";

const url = inject("postgresUrl") ?? "";
let schema: string;
let opened: Db[];
let client: pg.Client;

beforeEach(async () => {
  schema = `migrations_${randomBytes(6).toString("hex")}`;
  opened = [];
  client = new pg.Client({ connectionString: url });
  await client.connect();
});
afterEach(async () => {
  for (const db of opened) await db.close();
  await client.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`);
  await client.end();
});

async function open(migrations: readonly Migration[]): Promise<Db> {
  const db = await openPostgres({ url, schema }, migrations);
  opened.push(db);
  return db;
}

const more: Migration = {
  name: "test-3",
  statements: ({ integer }) => [`ALTER TABLE items ADD COLUMN more ${integer} NOT NULL DEFAULT 7`],
};

describe("migrations", () => {
  it("are applied once, by however many processes at once", async () => {
    const dbs = await Promise.all(Array.from({ length: 6 }, () => open([...TEST_MIGRATIONS, more])));
    const [first] = dbs;
    const names = await first?.read((tx) => tx.tuples("SELECT name FROM migrations ORDER BY name"));
    expect(names?.flat()).toEqual(["test-1", "test-2", "test-3"]);
  });

  it("are done whole or not at all, and again at the next start", async () => {
    const broken = { name: "b", statements: () => ["CREATE TABLE half (x TEXT)", "CREATE TABLE half (x TEXT)"] };
    await expect(open([...TEST_MIGRATIONS, broken])).rejects.toThrow("half");
    const mended = { name: "b", statements: () => ["CREATE TABLE half (x TEXT)"] };
    const db = await open([...TEST_MIGRATIONS, mended]);
    await db.write((tx) => tx.run("INSERT INTO half (x) VALUES (?)", "a"));
  });

  it("are done while an older version goes on", async () => {
    const old = await open(TEST_MIGRATIONS);
    const work = async () => {
      await old.write(async (tx) => {
        await tx.get("SELECT * FROM items WHERE id = ?", "a");
        await tx.run("INSERT INTO items (id, n) VALUES (?, 0) ON CONFLICT (id) DO NOTHING", "a");
      });
      return await old.read((tx) => tx.get("SELECT * FROM items WHERE id = ?", "a"));
    };
    expect(await work()).not.toHaveProperty("more");
    await open([...TEST_MIGRATIONS, more]);
    for (let time = 0; time < 6; time++) expect(await work()).toHaveProperty("more");
  });

  it("let pass what holds them up", async () => {
    await open(TEST_MIGRATIONS);
    const reader = new pg.Client({ connectionString: url });
    await reader.connect();
    await reader.query(`BEGIN; SELECT * FROM ${schema}.items`);
    const migrating = open([...TEST_MIGRATIONS, more]);
    const waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE items%'";
    await expect.poll(async () => (await client.query(waiting)).rowCount, { timeout: 10_000 }).toBe(1);
    await expect.poll(async () => (await client.query(waiting)).rowCount, { timeout: 10_000 }).toBe(0);
    await reader.end();
    await migrating;
  });
});

it.each([
  ["invocation", MIGRATIONS],
  ["registry", registryMigrations],
])("all texts of the %s service are compared byte by byte", async (_, migrations) => {
  await open(migrations);
  const { rows } = await client.query<{ name: string; collation: string }>(
    `SELECT attrelid::regclass || '.' || attname AS name, collname AS collation
     FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid JOIN pg_collation ON pg_collation.oid = attcollation
     WHERE relnamespace = $1::regnamespace`,
    [schema],
  );
  expect(rows.length).toBeGreaterThan(10);
  expect(rows.filter(({ collation }) => collation !== "C")).toEqual([]);
});
