/**
 * Functions that are being started, and their queues. Rows are made and locked in the order of their keys, functions before
 * queues, so that two writes never wait for each other.
 */
import { together, type WriteTransaction } from "../../platform/store/db.js";
import type { QueueRow, WantedFunction } from "../store.js";
import type { Keys } from "./keys.js";

export const QUEUE_COLUMNS = `project_id AS "projectId", function_name AS "functionName", slot_limit AS "slotLimit", used,
  queued`;

type LockedQueue = QueueRow & { readonly limitVersion: string };

export async function ensureFunctions(
  keys: Keys,
  tx: WriteTransaction,
  wanted: readonly WantedFunction[],
): Promise<(QueueRow | undefined)[]> {
  const functions = wanted.map((fn) => ({ fn, key: keys.ofFunction(fn.versionId, fn.functionName) }));
  functions.sort((a, b) => a.key - b.key);
  const queues = wanted.map((fn, index) => ({ fn, index, key: keys.ofQueue(fn.projectId, fn.functionName) }));
  queues.sort((a, b) => a.key - b.key);
  const [known, locked] = await together([
    together(functions.map(({ key }) => namesOf(tx, key))),
    together(queues.map(({ key }) => lockQueue(tx, key))),
  ]);
  for (const [place, { fn, key }] of functions.entries()) await ensureFunction(tx, key, fn, known[place]);
  const ensured: (QueueRow | undefined)[] = wanted.map(() => undefined);
  for (const [place, { fn, key, index }] of queues.entries()) {
    ensured[index] = await ensureQueue(tx, key, fn, locked[place]);
  }
  return ensured;
}

interface FunctionName {
  readonly version_id: string;
  readonly function_name: string;
}

async function namesOf(tx: WriteTransaction, key: number): Promise<FunctionName | undefined> {
  return await tx.get("SELECT version_id, function_name FROM functions WHERE function_key = ?", key);
}

async function ensureFunction(
  tx: WriteTransaction,
  key: number,
  fn: WantedFunction,
  known: FunctionName | undefined,
): Promise<void> {
  let stored = known;
  if (stored === undefined) {
    await tx.run(
      `INSERT INTO functions (function_key, version_id, function_name, project_id, project_name, spec)
       VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (function_key) DO NOTHING`,
      key,
      fn.versionId,
      fn.functionName,
      fn.projectId,
      fn.projectName,
      fn.spec,
    );
    stored = await namesOf(tx, key);
  }
  // Two functions with one key would be taken for one: it is never to happen, and must not go unseen.
  if (stored?.version_id !== fn.versionId || stored.function_name !== fn.functionName) {
    throw new Error(`the functions ${fn.functionName} and ${stored?.function_name} have the same key ${key}`);
  }
}

async function ensureQueue(
  tx: WriteTransaction,
  key: number,
  { projectId, functionName, slotLimit, versionId }: WantedFunction,
  stored: LockedQueue | undefined,
): Promise<QueueRow | undefined> {
  if (stored === undefined && !(await mayBegin(tx, projectId))) return undefined;
  // Version ids are time-ordered, so that a start on an old version does not bring back its limit.
  if (stored !== undefined && stored.limitVersion >= versionId) return stored;
  await tx.run(
    `INSERT INTO queues (queue_key, project_id, function_name, slot_limit, limit_version, used, queued)
     VALUES (?, ?, ?, ?, ?, 0, 0)
     ON CONFLICT (queue_key) DO UPDATE
     SET slot_limit = excluded.slot_limit, limit_version = excluded.limit_version
     WHERE queues.limit_version < excluded.limit_version`,
    key,
    projectId,
    functionName,
    slotLimit,
    versionId,
  );
  return await lockQueue(tx, key);
}

/** What it answers is nobody else's to change until the end of the write. */
export async function lockQueue(tx: WriteTransaction, key: number): Promise<LockedQueue | undefined> {
  return await tx.get(
    `SELECT ${QUEUE_COLUMNS}, limit_version AS "limitVersion" FROM queues WHERE queue_key = ?${tx.dialect.forUpdate}`,
    key,
  );
}

/**
 * Whether a project that is not being cancelled may have its first queue. The row is made and taken away again, so that
 * `cancelProject`, which finds no queue to lock, waits for this write at its own row.
 */
async function mayBegin(tx: WriteTransaction, projectId: string): Promise<boolean> {
  const sql = "INSERT INTO cancelled_projects (project_id) VALUES (?) ON CONFLICT (project_id) DO NOTHING";
  if ((await tx.run(sql, projectId)) === 0) return false;
  await tx.run("DELETE FROM cancelled_projects WHERE project_id = ?", projectId);
  return true;
}
