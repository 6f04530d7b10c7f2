/**
 * Fills a database of the invocation service with finished invocations, while no server has it open: copies of the
 * finished one with the given id, whatever its columns, with ids and times of their own in the past. A large
 * input is not copied.
 */
import { DatabaseSync, type SQLInputValue } from "node:sqlite";

const ROWS_PER_COMMIT = 50_000;
/** Between the creations of two stored invocations. */
const APART_MS = 10;
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

type Stored = Record<string, SQLInputValue>;

export function fillWithFinished(file: string, finishedId: string, count: number): void {
  using db = new DatabaseSync(file);
  db.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA cache_size=-200000");
  const invocation = sample(db, "SELECT * FROM invocations WHERE id = ?", finishedId);
  const insertInvocation = db.prepare(insertSql("invocations", invocation));
  const largeResult = db.prepare("SELECT result FROM large_results WHERE invocation_id = ?").get(finishedId);
  const insertResult = db.prepare("INSERT INTO large_results (invocation_id, result) VALUES (?, ?)");
  const createdAt = Number(invocation["created_at"]);
  for (let from = 0; from < count; from += ROWS_PER_COMMIT) {
    db.exec("BEGIN");
    // Oldest first, as they would have come.
    for (let i = from; i < Math.min(from + ROWS_PER_COMMIT, count); i++) {
      const timeMs = createdAt - (count - i) * APART_MS;
      const id = idAt("inv", timeMs, i);
      // Its execution, which it ended with, lies in its own row.
      const own = { id, execution_id: idAt("exe", timeMs, i), ...shifted(invocation, timeMs - createdAt) };
      insertInvocation.run(...Object.values({ ...invocation, ...own }));
      if (largeResult !== undefined) insertResult.run(id, largeResult["result"] ?? null);
    }
    db.exec("COMMIT");
  }
  // The server is not to pay for what was written here.
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
}

function sample(db: DatabaseSync, sql: string, parameter: string): Stored {
  const row = db.prepare(`${sql} LIMIT 1`).get(parameter);
  if (row === undefined) throw new Error(`nothing was found by: ${sql}`);
  return row;
}

function insertSql(table: string, row: Stored): string {
  const columns = Object.keys(row);
  return `INSERT INTO ${table} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})`;
}

/** All times of a row, moved. */
function shifted(row: Stored, byMs: number): Stored {
  const times = Object.entries(row).filter(([name, value]) => name.endsWith("_at") && typeof value === "number");
  return Object.fromEntries(times.map(([name, value]) => [name, Number(value) + byMs]));
}

function idAt(prefix: string, timeMs: number, serial: number): string {
  return `${prefix}-${base32(timeMs, 10)}${base32(serial, 16)}`;
}

function base32(value: number, length: number): string {
  let text = "";
  for (let rest = value, i = 0; i < length; i++, rest = Math.floor(rest / 32))
    text = (ALPHABET[rest % 32] ?? "") + text;
  return text;
}
