/** Reading invocations and their executions. */

import { placeholders, type ReadTransaction, type SqlValue } from "../../platform/store/db.js";
import type { StoredExecution, StoredInvocation } from "../store.js";
import { FIRST_FINISHED_CODE, STATUS_CODE } from "./codes.js";
import type { Keys } from "./keys.js";
import { COLUMNS, type ExecutionRow, HAS_CURRENT, type InvocationRow, lastExecution, storedExecution } from "./rows.js";

/** Values in one `IN (...)`. Fewer are padded to a power of two, so that few statements are prepared. */
const IN_CHUNK = 256;

export function readMethods(keys: Keys) {
  return {
    async load(tx: ReadTransaction, ids: readonly string[]): Promise<StoredInvocation[]> {
      return await keys.invocations(tx, await loadRows(tx, ids));
    },

    async loadEnded(tx: ReadTransaction, invocationId: string): Promise<StoredExecution[]> {
      const rows = await tx.all<ExecutionRow>(
        "SELECT * FROM executions WHERE invocation_id = ? ORDER BY attempt",
        invocationId,
      );
      const [row] = await loadRows(tx, [invocationId]);
      const last = row && lastExecution(row);
      return last === undefined ? rows.map(storedExecution) : [...rows.map(storedExecution), last];
    },

    async countChildren(tx: ReadTransaction, parentId: string): Promise<number> {
      const row = await tx.get<{ children: number }>("SELECT children FROM invocations WHERE id = ?", parentId);
      return row?.children ?? 0;
    },

    async loadUncancelledDescendants(tx: ReadTransaction, id: string, atMost: number): Promise<StoredInvocation[]> {
      const rows = await tx.tuples<InvocationRow>(
        `WITH RECURSIVE descendants (d) AS (
           SELECT id FROM invocations WHERE parent_id = ?
           UNION ALL SELECT child.id FROM invocations AS child JOIN descendants ON child.parent_id = d)
         SELECT ${COLUMNS} FROM invocations JOIN descendants ON id = d
         WHERE status < ${FIRST_FINISHED_CODE} AND cancel_requested_at IS NULL LIMIT ?${tx.dialect.forUpdate}`,
        id,
        atMost,
      );
      return await keys.invocations(tx, rows);
    },

    async loadUncancelledOfProject(
      tx: ReadTransaction,
      projectId: string,
      atMost: number,
    ): Promise<StoredInvocation[]> {
      const ofProject = "queue_key IN (SELECT queue_key FROM queues WHERE project_id = ?)";
      const rows = await tx.all<{ id: string }>(
        `SELECT id FROM invocations
         WHERE ${ofProject} AND status = ${STATUS_CODE.PENDING} AND execution_id IS NULL
         UNION ALL
         SELECT id FROM invocations
         WHERE ${HAS_CURRENT} AND ${ofProject} AND cancel_requested_at IS NULL LIMIT ?`,
        projectId,
        projectId,
        atMost,
      );
      return await keys.invocations(
        tx,
        await loadRows(
          tx,
          rows.map(({ id }) => id),
        ),
      );
    },
  };
}

function loadRows(tx: ReadTransaction, ids: readonly string[]): Promise<InvocationRow[]> {
  return loadColumns(tx, ids, COLUMNS);
}

/** Ordered by id. In a write the rows are locked, in this order, so that two writes never wait for each other. */
export async function loadColumns<R extends readonly SqlValue[]>(
  tx: ReadTransaction,
  given: readonly string[],
  columns: string,
  lock: string = tx.dialect.forUpdate,
): Promise<R[]> {
  const ids = given.length > 1 ? given.toSorted() : given;
  if (ids.length > 1) {
    const rows: R[] = [];
    for (const chunk of paddedChunks(ids)) {
      const ids = placeholders(chunk.length);
      const sql = `SELECT ${columns} FROM invocations WHERE id IN (${ids}) ORDER BY id${lock}`;
      for (const row of await tx.tuples<R>(sql, ...chunk)) rows.push(row);
    }
    return rows;
  }
  const [id] = ids;
  if (id === undefined) return [];
  return await tx.tuples<R>(`SELECT ${columns} FROM invocations WHERE id = ?${lock}`, id);
}

export async function loadLargeInput(tx: ReadTransaction, id: string): Promise<Uint8Array> {
  const row = await tx.get<{ input: Uint8Array }>("SELECT input FROM large_inputs WHERE invocation_id = ?", id);
  if (row === undefined) throw new Error(`the input of ${id} is not stored`);
  return row.input;
}

/** `sql` ends in IN; the rows come in no order. */
export async function allIn<R>(tx: ReadTransaction, sql: string, values: readonly string[]): Promise<R[]> {
  const rows: R[] = [];
  for (const chunk of paddedChunks(values)) {
    for (const row of await tx.all<R>(`${sql} (${placeholders(chunk.length)})`, ...chunk)) rows.push(row);
  }
  return rows;
}

function* paddedChunks(values: readonly string[]): Generator<string[]> {
  for (let from = 0; from < values.length; from += IN_CHUNK) {
    const chunk = values.slice(from, from + IN_CHUNK);
    const last = chunk.at(-1) ?? "";
    let size = 1;
    while (size < chunk.length) size *= 2;
    while (chunk.length < size) chunk.push(last);
    yield chunk;
  }
}
