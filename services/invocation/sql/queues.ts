/** Queues, slots, the leases of schedulers, and deadlines. */
import { type ReadTransaction, together, type WriteTransaction } from "../../platform/store/db.js";
import type { QueueName, QueueRow, QueueState, StoredExecution, StoredInvocation } from "../store.js";
import { STATUS_CODE } from "./codes.js";
import { lockQueue, QUEUE_COLUMNS } from "./ensure_functions.js";
import type { Keys } from "./keys.js";
import { loadLargeInput } from "./reads.js";
import {
  COLUMNS,
  type ExecutionRow,
  HAS_CURRENT,
  type InvocationRow,
  storedExecution,
  storedInvocation,
} from "./rows.js";

/** What waits in a queue: the condition of the partial index. */
const QUEUED = `status = ${STATUS_CODE.PENDING} AND execution_id IS NULL`;

export async function queueStates(tx: ReadTransaction, atMost: number): Promise<QueueState[]> {
  return await tx.all<QueueState>(
    `SELECT ${QUEUE_COLUMNS},
       COALESCE((SELECT project_name FROM functions WHERE functions.project_id = queues.project_id LIMIT 1), '') AS "projectName",
       (SELECT available_at FROM invocations WHERE invocations.queue_key = queues.queue_key AND ${QUEUED}
          ORDER BY available_at LIMIT 1) AS "firstAvailableAt"
     FROM queues ORDER BY queued DESC, used DESC, queue_key LIMIT ?`,
    atMost,
  );
}

export async function leasableQueues(tx: ReadTransaction): Promise<QueueRow[]> {
  return await tx.all<QueueRow>(
    `SELECT ${QUEUE_COLUMNS} FROM queues WHERE queued > 0 AND used < slot_limit ORDER BY queue_key`,
  );
}

export async function loadQueued(
  keys: Keys,
  tx: WriteTransaction,
  projectId: string,
  functionName: string,
  now: number,
  atMost: number,
): Promise<{ invocation: StoredInvocation; input: Uint8Array }[]> {
  const key = keys.ofQueue(projectId, functionName);
  // First, so that nobody else counts the same slots.
  const locking = lockQueue(tx, key);
  const loading = tx.tuples<readonly [...InvocationRow, input: Uint8Array | null]>(
    `SELECT ${COLUMNS}, input FROM invocations WHERE queue_key = ? AND ${QUEUED} AND available_at <= ?
     ORDER BY available_at, id LIMIT ?${tx.dialect.skipLocked}`,
    key,
    now,
    atMost,
  );
  const [held, rows] = await together([locking, loading]);
  const free = held === undefined ? 0 : Math.max(held.slotLimit - held.used, 0);
  const queued = [];
  for (const row of rows.slice(0, free)) {
    const invocation = storedInvocation(row as unknown as InvocationRow, await keys.namesOf(tx, row[1]));
    queued.push({ invocation, input: (row.at(-1) as Uint8Array | null) ?? (await loadLargeInput(tx, row[0])) });
  }
  return queued;
}

export async function nextAvailableAt(
  keys: Keys,
  tx: ReadTransaction,
  queues: readonly QueueName[],
): Promise<number | null> {
  let next: number | null = null;
  for (const { projectId, functionName } of queues) {
    const row = await tx.get<{ at: number }>(
      `SELECT available_at AS at FROM invocations WHERE queue_key = ? AND ${QUEUED} ORDER BY available_at LIMIT 1`,
      keys.ofQueue(projectId, functionName),
    );
    if (row !== undefined && (next === null || row.at < next)) next = row.at;
  }
  return next;
}

export async function renewScheduler(
  tx: WriteTransaction,
  schedulerId: string,
  leaseUntil: number,
): Promise<number | null> {
  const row = await tx.get<{ before: number }>(
    `SELECT lease_until AS before FROM schedulers WHERE id = ?${tx.dialect.forUpdate}`,
    schedulerId,
  );
  await tx.run(
    "INSERT INTO schedulers (id, lease_until) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until",
    schedulerId,
    leaseUntil,
  );
  return row?.before ?? null;
}

export async function isSchedulerHeld(
  tx: ReadTransaction,
  schedulerId: string,
  now: number,
  leaseDurationMs: number,
): Promise<boolean> {
  const row = await tx.get<{ until: number }>("SELECT lease_until AS until FROM schedulers WHERE id = ?", schedulerId);
  return row !== undefined && row.until > now + leaseDurationMs / 2;
}

/** Renews the lease of a scheduler only if it is about to end, since a renewal costs a write. */
export async function holdScheduler(
  tx: WriteTransaction,
  schedulerId: string,
  now: number,
  leaseDurationMs: number,
): Promise<void> {
  if (await isSchedulerHeld(tx, schedulerId, now, leaseDurationMs)) return;
  await renewScheduler(tx, schedulerId, now + leaseDurationMs);
}

export async function expiredSchedulers(tx: ReadTransaction, now: number): Promise<string[]> {
  const rows = await tx.all<{ id: string }>(
    `SELECT id FROM schedulers WHERE lease_until < ?${tx.dialect.skipLocked}`,
    now,
  );
  return rows.map(({ id }) => id);
}

export async function livingSchedulers(tx: ReadTransaction, now: number): Promise<string[]> {
  const rows = await tx.all<{ id: string }>("SELECT id FROM schedulers WHERE lease_until >= ? ORDER BY id", now);
  return rows.map(({ id }) => id);
}

export async function forgetScheduler(tx: WriteTransaction, schedulerId: string): Promise<void> {
  await tx.run("DELETE FROM schedulers WHERE id = ?", schedulerId);
}

export async function loadLeased(keys: Keys, tx: ReadTransaction, schedulerId: string): Promise<StoredInvocation[]> {
  const rows = await tx.tuples<InvocationRow>(
    `SELECT ${COLUMNS} FROM invocations WHERE scheduler_id = ? AND ${HAS_CURRENT} ORDER BY id${tx.dialect.forUpdate}`,
    schedulerId,
  );
  return await keys.invocations(tx, rows);
}

export async function loadInterrupted(
  keys: Keys,
  tx: ReadTransaction,
  schedulerId: string,
): Promise<StoredInvocation[]> {
  const rows = await tx.tuples<InvocationRow>(
    `SELECT ${COLUMNS} FROM invocations WHERE scheduler_id = ? AND ${HAS_CURRENT} AND interrupt IS NOT NULL`,
    schedulerId,
  );
  return await keys.invocations(tx, rows);
}

export async function loadHeldEnded(tx: ReadTransaction, schedulerId: string): Promise<StoredExecution[]> {
  const rows = await tx.all<ExecutionRow>("SELECT * FROM executions WHERE scheduler_id = ? AND held = 1", schedulerId);
  return rows.map(storedExecution);
}

const EXPIRING = `expires_at IS NOT NULL AND status = ${STATUS_CODE.PENDING} AND started_at IS NULL AND interrupt IS NULL`;
const DUE = "deadline_at IS NOT NULL AND interrupt IS NULL";
/** What runs under a lease that is over is lost, and not late: its worker is gone. */
const IS_HELD = "scheduler_id IN (SELECT id FROM schedulers WHERE lease_until >= ?)";

export async function loadExpired(
  keys: Keys,
  tx: ReadTransaction,
  now: number,
  atMost: number,
): Promise<StoredInvocation[]> {
  const rows = await tx.tuples<InvocationRow>(
    `SELECT ${COLUMNS} FROM invocations WHERE ${EXPIRING} AND expires_at <= ? ORDER BY expires_at LIMIT ?${tx.dialect.skipLocked}`,
    now,
    atMost,
  );
  return await keys.invocations(tx, rows);
}

export async function loadPastDeadline(
  keys: Keys,
  tx: ReadTransaction,
  now: number,
  atMost: number,
): Promise<StoredInvocation[]> {
  const rows = await tx.tuples<InvocationRow>(
    `SELECT ${COLUMNS} FROM invocations WHERE ${DUE} AND deadline_at <= ? AND ${IS_HELD}
     ORDER BY deadline_at LIMIT ?${tx.dialect.skipLocked}`,
    now,
    now,
    atMost,
  );
  return await keys.invocations(tx, rows);
}

export async function nextDeadline(tx: ReadTransaction): Promise<number | null> {
  const expiry = await tx.get<{ at: number }>(
    `SELECT expires_at AS at FROM invocations WHERE ${EXPIRING} ORDER BY expires_at LIMIT 1`,
  );
  const deadline = await tx.get<{ at: number }>(
    `SELECT deadline_at AS at FROM invocations WHERE ${DUE} ORDER BY deadline_at LIMIT 1`,
  );
  if (expiry === undefined) return deadline?.at ?? null;
  return deadline === undefined ? expiry.at : Math.min(expiry.at, deadline.at);
}
