/** Listing invocations, a page at a time. */
import { firstIdAt } from "../../platform/ids.js";
import type { ReadTransaction } from "../../platform/store/db.js";
import type { ListedPart, ListFilter } from "../store.js";
import { statusOf } from "./codes.js";
import type { Keys } from "./keys.js";
import { type IndexRange, ListWalk } from "./list_walk.js";
import { loadColumns } from "./reads.js";
import { type InvocationRow, LISTED_COLUMNS } from "./rows.js";

/** Rows looked up at once, and so invocations in one part. */
const LOOKED_UP = 64;

/** How long rows are looked up for one part, after which it is over, whatever it has found. */
const PART_MS = 25;

/** What a filter must know of a row. */
type FilteredRow = readonly [id: string, functionKey: number, status: number];

/** See InvocationStore. Each function of the project is walked along its index, and what they give is merged by id. */
export async function list(
  keys: Keys,
  tx: ReadTransaction,
  filter: ListFilter,
  beforeId: string | null,
  atMost: number,
): Promise<ListedPart> {
  const upper = filter.createdBefore === null ? null : firstIdAt("inv", filter.createdBefore);
  const lower = filter.createdFrom === null ? null : firstIdAt("inv", filter.createdFrom);
  const bounds = { before: earlier(beforeId, upper), lower };
  const wanted = Math.min(atMost, LOOKED_UP);
  const walk = new ListWalk(tx, await rangesOf(keys, tx, filter), bounds, wanted + 1);
  const found: string[] = [];
  const answer = async (position: string | null): Promise<ListedPart> => {
    const rows = await loadColumns<InvocationRow>(tx, found, LISTED_COLUMNS);
    return { items: await keys.invocations(tx, rows.toReversed()), position, looked: walk.looked };
  };

  let position: string | null = null;
  let lateAt = Number.POSITIVE_INFINITY;
  for (;;) {
    const ids = await walk.next();
    if (ids.length === 0) return await answer(null);
    for (let from = 0; from < ids.length; from += LOOKED_UP) {
      // Only where more follows: what is found at the end of the listing is its last part.
      if (found.length === wanted || performance.now() > lateAt) return await answer(position);
      if (position === null) lateAt = performance.now() + PART_MS;
      const some = ids.slice(from, from + LOOKED_UP);
      const matching = await matchingOf(keys, tx, some, filter);
      for (const id of some) {
        if (found.length === wanted) return await answer(position);
        position = id;
        if (matching.has(id)) found.push(id);
      }
    }
  }
}

/** Where the listing lies in the indexes, which hold nothing else that a filter asks for. */
async function rangesOf(keys: Keys, tx: ReadTransaction, filter: ListFilter): Promise<IndexRange[]> {
  const { projectId, functionName, parentId } = filter;
  if (parentId !== "") return [{ where: "parent_id = ?", param: parentId }];
  const queues = functionName === "" ? await queuesOf(tx, projectId) : [keys.ofQueue(projectId, functionName)];
  return queues.map((param) => ({ where: "queue_key = ?", param }));
}

async function queuesOf(tx: ReadTransaction, projectId: string): Promise<number[]> {
  const rows = await tx.all<{ key: number }>("SELECT queue_key AS key FROM queues WHERE project_id = ?", projectId);
  return rows.map(({ key }) => key);
}

/** Those that the filter lets through. */
async function matchingOf(
  keys: Keys,
  tx: ReadTransaction,
  ids: readonly string[],
  { projectId, functionName, versionId, statuses, parentId }: ListFilter,
): Promise<ReadonlySet<string>> {
  if (statuses.length === 0 && versionId === "" && parentId === "") return new Set(ids);
  const matching = new Set<string>();
  for (const [id, functionKey, status] of await loadColumns<FilteredRow>(tx, ids, "id, function_key, status")) {
    const names = await keys.namesOf(tx, functionKey);
    if (names.projectId !== projectId || (functionName !== "" && names.functionName !== functionName)) continue;
    if (versionId !== "" && names.versionId !== versionId) continue;
    if (statuses.length === 0 || statuses.includes(statusOf(status))) matching.add(id);
  }
  return matching;
}

function earlier(a: string | null, b: string | null): string | null {
  if (a === null) return b;
  if (b === null) return a;
  return a < b ? a : b;
}
