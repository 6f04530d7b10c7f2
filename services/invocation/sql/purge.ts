/**
 * What is removed of the tables: projects that are deleted, invocations that ended long ago, and requests that are old. Never
 * more at once than one write can do.
 */
import { firstIdAt } from "../../platform/ids.js";
import type { ReadTransaction, SqlValue, WriteTransaction } from "../../platform/store/db.js";
import type { OldPart } from "../store.js";
import { FIRST_FINISHED_CODE } from "./codes.js";
import { allIn, loadColumns } from "./reads.js";

/** Invocations whose executions are looked at together: where they printed much, few of them go in one write. */
const LOOKED_AT_ONCE = 64;
const PAGE_BYTES = 4_096;

export async function forgetRequests(tx: WriteTransaction, createdBefore: number, atMost: number): Promise<boolean> {
  const requests = await deleteSome(tx, "start_requests", "request_id", "created_at < ?", createdBefore, atMost);
  const key = "project_id, idempotency_key";
  const keys = await deleteSome(tx, "idempotency_keys", key, "created_at < ?", createdBefore, atMost);
  return Math.max(requests, keys) >= atMost;
}

export async function purgeProject(
  tx: WriteTransaction,
  projectId: string,
  atMost: { readonly invocations: number; readonly rows: number },
): Promise<boolean> {
  const found = await tx.all<{ id: string }>(
    `SELECT id FROM invocations WHERE queue_key IN (SELECT queue_key FROM queues WHERE project_id = ?)
     AND status >= ${FIRST_FINISHED_CODE} LIMIT ?`,
    projectId,
    atMost.invocations,
  );
  if (found.length > 0) {
    const rows = await loadColumns<[id: string]>(
      tx,
      found.map(({ id }) => id),
      "id",
    );
    await deletePart(tx, await partOf(tx, rows.flat(), atMost.rows));
    return true;
  }
  const others = [
    ["idempotency_keys", "project_id, idempotency_key"],
    ["functions", "function_key"],
  ] as const;
  for (const [table, key] of others) {
    if ((await deleteSome(tx, table, key, "project_id = ?", projectId, atMost.rows)) >= atMost.rows) return true;
  }
  // By which the invocations of a project are found: last.
  await tx.run("DELETE FROM queues WHERE project_id = ?", projectId);
  return false;
}

/** Found by the time in their ids, so that no index has to be kept for it: what ended before a time was started before it. */
export async function loadOld(
  tx: ReadTransaction,
  endedBefore: number,
  afterId: string,
  atMost: number,
): Promise<OldPart> {
  const rows = await tx.tuples<[id: string, isOver: number]>(
    `SELECT id, CASE WHEN terminated = 1 AND finished_at < ?
       AND NOT EXISTS (SELECT 1 FROM invocations AS child WHERE child.parent_id = invocations.id) THEN 1 ELSE 0 END
     FROM invocations WHERE id > ? AND id < ? ORDER BY id LIMIT ?`,
    endedBefore,
    afterId,
    firstIdAt("inv", endedBefore),
    atMost,
  );
  const [last = null] = rows.length < atMost ? [] : (rows.at(-1) ?? []);
  return { ids: rows.flatMap(([id, isOver]) => (isOver === 1 ? id : [])), position: last };
}

export async function removeInvocations(
  tx: WriteTransaction,
  ids: readonly string[],
  atMostRows: number,
): Promise<number> {
  // What another removes in this moment is not waited for: this would hold up all other writes.
  const left = (await loadColumns<[id: string]>(tx, ids, "id", tx.dialect.skipLocked)).flat();
  const part = await partOf(tx, left, atMostRows);
  await deletePart(tx, part);
  const next = left[part.invocationIds.length];
  return next === undefined ? ids.length : ids.indexOf(next);
}

/** What goes in one write: lines of executions, and invocations of which no lines are left. */
class PurgePart {
  readonly invocationIds: string[] = [];
  readonly executionIds: string[] = [];
  readonly #atMostRows: number;
  #rows = 0;
  isFull = false;

  constructor(atMostRows: number) {
    this.#atMostRows = atMostRows;
  }

  /** Takes of it what there is room for; something in any case, so that no part is empty. */
  add(invocationId: string, ownRows: number, executions: readonly PrintedExecution[]): void {
    for (const { id, lines } of executions) {
      if (!this.#hasRoomFor(1 + lines)) return;
      if (lines > 0) this.executionIds.push(id);
    }
    if (this.#hasRoomFor(ownRows)) this.invocationIds.push(invocationId);
  }

  #hasRoomFor(rows: number): boolean {
    const isEmpty = this.executionIds.length === 0 && this.invocationIds.length === 0;
    this.isFull = !isEmpty && this.#rows + rows > this.#atMostRows;
    this.#rows += rows;
    return !this.isFull;
  }
}

interface PrintedExecution {
  readonly invocationId: string;
  readonly id: string;
  readonly lines: number;
}

async function partOf(tx: WriteTransaction, ids: readonly string[], atMostRows: number): Promise<PurgePart> {
  const part = new PurgePart(atMostRows);
  for (let from = 0; from < ids.length && !part.isFull; from += LOOKED_AT_ONCE) {
    const looked = ids.slice(from, from + LOOKED_AT_ONCE);
    const executions = Map.groupBy(await printedExecutions(tx, looked), ({ invocationId }) => invocationId);
    const ownRows = await ownRowsOf(tx, looked);
    for (const id of looked) if (!part.isFull) part.add(id, ownRows.get(id) ?? 1, executions.get(id) ?? []);
  }
  return part;
}

/** As how many rows an invocation counts: payloads take as much time as their pages. */
async function ownRowsOf(tx: WriteTransaction, ids: readonly string[]): Promise<Map<string, number>> {
  const apart = (column: string, table: string) =>
    `COALESCE((SELECT length(${table}.${column}) FROM ${table} WHERE ${table}.invocation_id = invocations.id), 0)`;
  const sql = `SELECT id, COALESCE(length(result), 0) + ${apart("input", "large_inputs")}
    + ${apart("result", "large_results")} AS bytes FROM invocations WHERE id IN`;
  const rows = await allIn<{ id: string; bytes: number }>(tx, sql, ids);
  return new Map(rows.map(({ id, bytes }) => [id, 1 + Math.floor(bytes / PAGE_BYTES)]));
}

/** All executions, with the number of their last line, which is no less than that of their lines and needs no count. */
async function printedExecutions(tx: WriteTransaction, ids: readonly string[]): Promise<PrintedExecution[]> {
  const lines = (id: string) =>
    `COALESCE((SELECT MAX(line_number) FROM log_lines WHERE log_lines.execution_id = ${id}), 0) AS lines`;
  const ended = `SELECT invocation_id AS "invocationId", id, ${lines("executions.id")}
    FROM executions WHERE invocation_id IN`;
  const last = `SELECT id AS "invocationId", execution_id AS id, ${lines("invocations.execution_id")}
    FROM invocations WHERE execution_id IS NOT NULL AND id IN`;
  return [...(await allIn<PrintedExecution>(tx, ended, ids)), ...(await allIn<PrintedExecution>(tx, last, ids))];
}

async function deletePart(tx: WriteTransaction, { executionIds, invocationIds }: PurgePart): Promise<void> {
  const one = (id: string) => [id];
  await tx.runMany("DELETE FROM log_lines WHERE execution_id = ?", executionIds.map(one));
  const keys = invocationIds.map(one);
  await tx.runMany("DELETE FROM executions WHERE invocation_id = ?", keys);
  await tx.runMany("DELETE FROM large_inputs WHERE invocation_id = ?", keys);
  await tx.runMany("DELETE FROM large_results WHERE invocation_id = ?", keys);
  await tx.runMany("DELETE FROM invocations WHERE id = ?", keys);
}

/** Answers how many rows it removed: `atMost` where more may be left. */
async function deleteSome(
  tx: WriteTransaction,
  table: string,
  key: string,
  condition: string,
  value: SqlValue,
  atMost: number,
): Promise<number> {
  return await tx.run(
    `DELETE FROM ${table} WHERE (${key}) IN (SELECT ${key} FROM ${table} WHERE ${condition} LIMIT ?)`,
    value,
    atMost,
  );
}
