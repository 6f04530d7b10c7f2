/** Reading invocations and their executions. */

import { firstIdAt } from "../../platform/ids.js";
import { placeholders, type ReadTransaction, type SqlValue } from "../../platform/store/db.js";
import type { ListFilter, StoredExecution, StoredInvocation } from "../store.js";
import { FIRST_FINISHED_CODE, STATUS_CODE } from "./codes.js";
import { COLUMNS, type ExecutionRow, type InvocationRow, storedExecution, storedInvocation } from "./rows.js";

/** Values in one `IN (...)`. Fewer are padded to a power of two, so that few statements are prepared. */
const IN_CHUNK = 256;

/** Rows that one page of a filtered listing looks at before it answers with what it has. */
const LIST_SCAN_ROWS = 100_000;
const LIST_SCAN_CHUNK = 2_000;

export async function load(tx: ReadTransaction, ids: readonly string[]): Promise<StoredInvocation[]> {
  const rows = await allIn<InvocationRow>(tx, `SELECT ${COLUMNS} FROM invocations WHERE id IN`, ids);
  return rows.map(storedInvocation);
}

export async function loadInput(tx: ReadTransaction, id: string): Promise<Uint8Array> {
  const row = await tx.get<{ input: Uint8Array | null }>("SELECT input FROM invocations WHERE id = ?", id);
  return row?.input ?? (await loadLargeInput(tx, id));
}

export async function loadLargeInput(tx: ReadTransaction, id: string): Promise<Uint8Array> {
  const row = await tx.get<{ input: Uint8Array }>("SELECT input FROM large_inputs WHERE invocation_id = ?", id);
  if (row === undefined) throw new Error(`the input of ${id} is not stored`);
  return row.input;
}

export async function loadEnded(tx: ReadTransaction, invocationId: string): Promise<StoredExecution[]> {
  const rows = await tx.all<ExecutionRow>(
    "SELECT * FROM executions WHERE invocation_id = ? ORDER BY attempt",
    invocationId,
  );
  return rows.map(storedExecution);
}

export async function findIdempotent(
  tx: ReadTransaction,
  projectId: string,
  keys: readonly string[],
): Promise<{ key: string; id: string; bodyHash: Uint8Array; createdAt: number }[]> {
  const found = [];
  for (const key of keys) {
    const row = await tx.get<{ id: string; bodyHash: Uint8Array; createdAt: number }>(
      `SELECT id, body_hash AS "bodyHash", created_at AS "createdAt" FROM invocations
       WHERE project_id = ? AND idempotency_key = ?`,
      projectId,
      key,
    );
    if (row !== undefined) found.push({ key, ...row });
  }
  return found;
}

export async function countChildren(tx: ReadTransaction, parentId: string): Promise<number> {
  const row = await tx.get<{ children: number }>("SELECT children FROM invocations WHERE id = ?", parentId);
  return row?.children ?? 0;
}

export async function loadUncancelledDescendants(
  tx: ReadTransaction,
  id: string,
  atMost: number,
): Promise<StoredInvocation[]> {
  const rows = await tx.all<InvocationRow>(
    `WITH RECURSIVE descendants (d) AS (
       SELECT id FROM invocations WHERE parent_id = ?
       UNION ALL SELECT child.id FROM invocations AS child JOIN descendants ON child.parent_id = d)
     SELECT ${COLUMNS} FROM invocations JOIN descendants ON id = d
     WHERE status < ${FIRST_FINISHED_CODE} AND cancel_requested_at IS NULL LIMIT ?`,
    id,
    atMost,
  );
  return rows.map(storedInvocation);
}

export async function loadUncancelledOfProject(
  tx: ReadTransaction,
  projectId: string,
  atMost: number,
): Promise<StoredInvocation[]> {
  const rows = await tx.all<InvocationRow>(
    `SELECT ${COLUMNS} FROM invocations WHERE project_id = ? AND status = ${STATUS_CODE.PENDING} AND execution_id IS NULL
     UNION ALL
     SELECT ${COLUMNS} FROM invocations WHERE execution_id IS NOT NULL AND project_id = ? AND cancel_requested_at IS NULL
     LIMIT ?`,
    projectId,
    projectId,
    atMost,
  );
  return rows.map(storedInvocation);
}

/** See ListFilter. Each function of the project is walked along its index, and what they give is merged by id. */
export async function list(
  tx: ReadTransaction,
  filter: ListFilter,
  beforeId: string | null,
  pageSize: number,
): Promise<{ items: StoredInvocation[]; position: string | null }> {
  const upper = filter.createdBefore === null ? null : firstIdAt("inv", filter.createdBefore);
  const lower = filter.createdFrom === null ? null : firstIdAt("inv", filter.createdFrom);
  let before = earlier(beforeId, upper);
  const items: StoredInvocation[] = [];
  for (let scanned = 0; scanned < LIST_SCAN_ROWS; scanned += LIST_SCAN_CHUNK) {
    const filtered = filter.statuses.length > 0 || filter.versionId !== "";
    const wanted = filtered ? LIST_SCAN_CHUNK : pageSize - items.length + 1;
    const rows = await walk(tx, filter, before, lower, wanted);
    for (const [index, row] of rows.entries()) {
      const item = storedInvocation(row);
      if (!matches(item, filter)) continue;
      items.push(item);
      if (items.length === pageSize) {
        const last = index === rows.length - 1 && rows.length < wanted;
        return { items, position: last ? null : row.id };
      }
    }
    const lastRow = rows.at(-1);
    if (rows.length < wanted || lastRow === undefined) return { items, position: null };
    before = lastRow.id;
  }
  return { items, position: before };
}

/** The next rows of the listing, newest first. */
async function walk(
  tx: ReadTransaction,
  filter: ListFilter,
  before: string | null,
  lower: string | null,
  atMost: number,
): Promise<InvocationRow[]> {
  const bounds = `${before === null ? "" : " AND id < ?"}${lower === null ? "" : " AND id >= ?"}`;
  const boundParams = [before, lower].filter((bound) => bound !== null);
  if (filter.parentId !== "") {
    return await tx.all<InvocationRow>(
      `SELECT ${COLUMNS} FROM invocations WHERE parent_id = ?${bounds} AND project_id = ?
       ${filter.functionName === "" ? "" : "AND function_name = ?"} ORDER BY id DESC LIMIT ?`,
      filter.parentId,
      ...boundParams,
      filter.projectId,
      ...(filter.functionName === "" ? [] : [filter.functionName]),
      atMost,
    );
  }
  const names = filter.functionName === "" ? await functionNames(tx, filter.projectId) : [filter.functionName];
  const pages = [];
  for (const name of names) {
    pages.push(
      await tx.all<InvocationRow>(
        `SELECT ${COLUMNS} FROM invocations WHERE project_id = ? AND function_name = ?${bounds} ORDER BY id DESC LIMIT ?`,
        filter.projectId,
        name,
        ...boundParams,
        atMost,
      ),
    );
  }
  if (pages.length === 1) return pages[0] ?? [];
  return pages
    .flat()
    .sort((a, b) => (a.id < b.id ? 1 : -1))
    .slice(0, atMost);
}

async function functionNames(tx: ReadTransaction, projectId: string): Promise<string[]> {
  const rows = await tx.all<{ name: string }>(
    "SELECT function_name AS name FROM queues WHERE project_id = ?",
    projectId,
  );
  return rows.map(({ name }) => name);
}

function matches({ identity, life }: StoredInvocation, filter: ListFilter): boolean {
  if (filter.versionId !== "" && identity.versionId !== filter.versionId) return false;
  return filter.statuses.length === 0 || filter.statuses.includes(life.status);
}

function earlier(a: string | null, b: string | null): string | null {
  if (a === null) return b;
  if (b === null) return a;
  return a < b ? a : b;
}

/** `sql` ends in IN; the rows come in no order. */
export async function allIn<R>(tx: ReadTransaction, sql: string, values: readonly SqlValue[]): Promise<R[]> {
  const rows: R[] = [];
  for (let from = 0; from < values.length; from += IN_CHUNK) {
    const chunk = values.slice(from, from + IN_CHUNK);
    let size = 1;
    while (size < chunk.length) size *= 2;
    const last = chunk.at(-1) ?? null;
    while (chunk.length < size) chunk.push(last);
    const found = await tx.all<R>(`${sql} (${placeholders(size)})`, ...chunk);
    for (const row of found) rows.push(row);
  }
  return rows;
}
