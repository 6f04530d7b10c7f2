/** Listing invocations, a page at a time. */
import { firstIdAt } from "../../platform/ids.js";
import type { ReadTransaction } from "../../platform/store/db.js";
import type { ListFilter, StoredInvocation } from "../store.js";
import type { Keys } from "./keys.js";
import { COLUMNS, type InvocationRow } from "./rows.js";

/** Rows that one page of a filtered listing looks at before it answers with what it has. */
const LIST_SCAN_ROWS = 100_000;
const LIST_SCAN_CHUNK = 2_000;

/** See ListFilter. Each function of the project is walked along its index, and what they give is merged by id. */
export async function list(
  keys: Keys,
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
    const rows = await keys.invocations(tx, await walk(keys, tx, filter, before, lower, wanted));
    for (const [index, item] of rows.entries()) {
      if (!matches(item, filter)) continue;
      items.push(item);
      if (items.length === pageSize) {
        const last = index === rows.length - 1 && rows.length < wanted;
        return { items, position: last ? null : item.identity.id };
      }
    }
    const lastRow = rows.at(-1);
    if (rows.length < wanted || lastRow === undefined) return { items, position: null };
    before = lastRow.identity.id;
  }
  return { items, position: before };
}

/** The next rows of the listing, newest first. */
async function walk(
  keys: Keys,
  tx: ReadTransaction,
  filter: ListFilter,
  before: string | null,
  lower: string | null,
  atMost: number,
): Promise<InvocationRow[]> {
  const bounds = `${before === null ? "" : " AND id < ?"}${lower === null ? "" : " AND id >= ?"}`;
  const boundParams = [before, lower].filter((bound) => bound !== null);
  if (filter.parentId !== "") {
    // Children are of their parent's project.
    const ofFunction = filter.functionName === "" ? [] : [keys.ofQueue(filter.projectId, filter.functionName)];
    return await tx.tuples<InvocationRow>(
      `SELECT ${COLUMNS} FROM invocations WHERE parent_id = ?${bounds}
       AND queue_key IN (${ofFunction.length > 0 ? "?" : "SELECT queue_key FROM queues WHERE project_id = ?"})
       ORDER BY id DESC LIMIT ?`,
      filter.parentId,
      ...boundParams,
      ofFunction[0] ?? filter.projectId,
      atMost,
    );
  }
  const queues =
    filter.functionName === ""
      ? await queuesOf(tx, filter.projectId)
      : [keys.ofQueue(filter.projectId, filter.functionName)];
  const pages = [];
  for (const queue of queues) {
    pages.push(
      await tx.tuples<InvocationRow>(
        `SELECT ${COLUMNS} FROM invocations WHERE queue_key = ?${bounds} ORDER BY id DESC LIMIT ?`,
        queue,
        ...boundParams,
        atMost,
      ),
    );
  }
  if (pages.length === 1) return pages[0] ?? [];
  return pages
    .flat()
    .sort((a, b) => (a[0] < b[0] ? 1 : -1))
    .slice(0, atMost);
}

async function queuesOf(tx: ReadTransaction, projectId: string): Promise<number[]> {
  const rows = await tx.all<{ key: number }>("SELECT queue_key AS key FROM queues WHERE project_id = ?", projectId);
  return rows.map(({ key }) => key);
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
