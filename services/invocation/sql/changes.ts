/** Writing invocations: inserts, and changes with the ended executions and the queues' counters that belong to them. */
import type { WriteTransaction } from "../../platform/store/db.js";
import { isQueued } from "../domain/life.js";
import type { Change, Identity, NewInvocation } from "../store.js";
import { OUTCOME_CODE } from "./codes.js";
import { INLINE_INPUT_BYTES, INSERT_INVOCATION, insertParams, UPDATE_INVOCATION, updateParams } from "./rows.js";

const INSERT_EXECUTION = `INSERT INTO executions (invocation_id, attempt, id, epoch, scheduler_id, worker_id, outcome, error,
  created_at, started_at, finished_at, held) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

const RELEASE_EXECUTION = "UPDATE executions SET held = 0 WHERE invocation_id = ? AND attempt = ?";

const COUNT_QUEUE = `UPDATE queues SET used = used + ?, queued = queued + ?
  WHERE project_id = ? AND function_name = ?`;

export async function insert(tx: WriteTransaction, invocations: readonly NewInvocation[]): Promise<void> {
  await tx.runMany(INSERT_INVOCATION, invocations.map(insertParams));
  const large = invocations.filter(({ input }) => input.byteLength > INLINE_INPUT_BYTES);
  await tx.runMany(
    "INSERT INTO large_inputs (invocation_id, input) VALUES (?, ?)",
    large.map(({ identity, input }) => [identity.id, input]),
  );
  const counters = new QueueCounters();
  for (const { identity, life } of invocations) counters.add(identity, 0, isQueued(life) ? 1 : 0);
  await counters.flush(tx);
}

export async function addChildren(tx: WriteTransaction, parentId: string, count: number): Promise<void> {
  await tx.run("UPDATE invocations SET children = children + ? WHERE id = ?", count, parentId);
}

export async function save(tx: WriteTransaction, changes: readonly Change[]): Promise<void> {
  await tx.runMany(
    UPDATE_INVOCATION,
    changes.map(({ identity, after }) => updateParams(identity.id, after)),
  );
  const counters = new QueueCounters();
  const ended = [];
  const released = [];
  for (const change of changes) {
    const { identity, before, after } = change;
    counters.add(identity, after.held - before.held, Number(isQueued(after)) - Number(isQueued(before)));
    for (const execution of change.ended) {
      ended.push([
        identity.id,
        execution.attemptNumber,
        execution.id,
        execution.epoch,
        execution.schedulerId,
        execution.workerId,
        OUTCOME_CODE[execution.outcome],
        execution.error,
        execution.createdAt,
        execution.startedAt,
        execution.finishedAt,
        change.released.includes(execution.attemptNumber) ? 0 : 1,
      ]);
    }
    for (const attempt of change.released) {
      if (!change.ended.some((execution) => execution.attemptNumber === attempt)) released.push([identity.id, attempt]);
    }
  }
  if (ended.length > 0) await tx.runMany(INSERT_EXECUTION, ended);
  if (released.length > 0) await tx.runMany(RELEASE_EXECUTION, released);
  await counters.flush(tx);
}

/** Adds up what changes in the counters of each queue, so that each is written once. */
class QueueCounters {
  readonly #deltas = new Map<string, { identity: Identity; used: number; queued: number }>();

  add(identity: Identity, used: number, queued: number): void {
    if (used === 0 && queued === 0) return;
    const key = `${identity.projectId}/${identity.functionName}`;
    const delta = this.#deltas.get(key);
    if (delta === undefined) {
      this.#deltas.set(key, { identity, used, queued });
    } else {
      delta.used += used;
      delta.queued += queued;
    }
  }

  async flush(tx: WriteTransaction): Promise<void> {
    for (const { identity, used, queued } of this.#deltas.values()) {
      if (used === 0 && queued === 0) continue;
      await tx.run(COUNT_QUEUE, used, queued, identity.projectId, identity.functionName);
    }
  }
}
