/**
 * Migrations of PostgreSQL.
 *
 * M1. Several processes may migrate at once: a lock makes one of them do it, and the others find it done.
 * M2. A step is done whole or not at all.
 * M3. Processes of an older version go on meanwhile: a step that has to wait for them gives up soon, lets them pass, and tries
 *     again.
 * M4. Texts are compared byte by byte, as in SQLite, whatever the locale of the database: ids are in the order of their times.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { Dialect, Migration } from "./db.js";
import { isConflict } from "./postgres_errors.js";

/** A step that waits for a lock holds up all who come after it. */
const STEP_LOCK_TIMEOUT_MS = 2_000;
const STEP_PAUSE_MS = 500;
const STEP_TRIES = 60;
/** How long another process may take for its migrations. */
const TURN_TIMEOUT_MS = 600_000;

export async function migrate(
  client: pg.Client,
  schema: string,
  dialect: Dialect,
  migrations: readonly Migration[],
): Promise<void> {
  await inTurn(client, schema, async () => {
    const { rowCount } = await client.query("SELECT 1 FROM pg_namespace WHERE nspname = $1", [schema]);
    // A role that may not make schemas can use one that was made for it.
    if (rowCount === 0) await client.query(`CREATE SCHEMA ${schema}`);
    await client.query(`CREATE TABLE IF NOT EXISTS ${schema}.migrations (name text COLLATE "C" PRIMARY KEY)`);
  });
  for (const migration of migrations) {
    const step = async () => {
      const { rowCount } = await client.query("SELECT 1 FROM migrations WHERE name = $1", [migration.name]);
      if (rowCount !== 0) return;
      await client.query(`SET LOCAL lock_timeout = ${STEP_LOCK_TIMEOUT_MS}`);
      for (const statement of migration.statements(dialect)) await client.query(bytewise(statement));
      await client.query("INSERT INTO migrations (name) VALUES ($1)", [migration.name]);
    };
    for (let tries = 1; !(await isDone(() => inTurn(client, schema, step), tries)); tries++) await sleep(STEP_PAUSE_MS);
  }
}

/** Whether a step was done, and not held up by others. */
async function isDone(work: () => Promise<void>, tries: number): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (!isConflict(error) || tries >= STEP_TRIES) throw error;
    return false;
  }
}

/** Runs `work` in a transaction, while no other process does the same for this schema. */
async function inTurn(client: pg.Client, schema: string, work: () => Promise<void>): Promise<void> {
  await client.query("BEGIN");
  try {
    await client.query(`SET LOCAL lock_timeout = ${TURN_TIMEOUT_MS}`);
    await client.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [`multinode migrations of ${schema}`]);
    await work();
    await client.query("COMMIT");
  } catch (error) {
    await client.query("ROLLBACK");
    throw error;
  }
}

/** M4 */
function bytewise(statement: string): string {
  return statement.replaceAll(/\bTEXT\b/g, 'TEXT COLLATE "C"');
}
