/** Writing invocations: inserts, and changes with the ended executions and the queues' counters that belong to them. */
import { type SqlValue, together, type WriteTransaction } from "../../platform/store/db.js";
import { type EndedExecution, isQueued } from "../domain/life.js";
import { type Change, type Identity, type NewInvocation, StaleLife } from "../store.js";
import { OUTCOME_CODE } from "./codes.js";
import type { Keys } from "./keys.js";
import { INLINE_BYTES, isApart, isLast, RowWriter } from "./rows.js";

const INSERT_LARGE_INPUT = "INSERT INTO large_inputs (invocation_id, input) VALUES (?, ?)";

const STORE_LARGE_RESULT = `INSERT INTO large_results (invocation_id, result) VALUES (?, ?)
  ON CONFLICT (invocation_id) DO UPDATE SET result = excluded.result`;

const INSERT_IDEMPOTENCY_KEY = `INSERT INTO idempotency_keys (project_id, idempotency_key, invocation_id, body_hash,
  created_at) VALUES (?, ?, ?, ?, ?)`;

const INSERT_EXECUTION = `INSERT INTO executions (invocation_id, attempt, id, epoch, scheduler_id, worker_id, outcome, error,
  created_at, started_at, finished_at, held) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

const RELEASE_EXECUTION = "UPDATE executions SET held = 0 WHERE invocation_id = ? AND attempt = ?";

const COUNT_QUEUE = "UPDATE queues SET used = used + ?, queued = queued + ? WHERE queue_key = ?";

export function changeMethods(keys: Keys) {
  const writer = new RowWriter();
  return {
    insert(tx: WriteTransaction, invocations: readonly NewInvocation[]): void {
      const counters = new QueueCounters(keys);
      const rows = writer.inserts();
      const large = [];
      const idempotent = [];
      for (const invocation of invocations) {
        const { identity, life, input, idempotency } = invocation;
        const { id, projectId, versionId, functionName, createdAt } = identity;
        const functionKey = keys.ofFunction(versionId, functionName);
        writer.addInsert(rows, invocation, functionKey, keys.ofQueue(projectId, functionName), tx.dialect);
        if (input.byteLength > INLINE_BYTES) large.push([id, input]);
        if (idempotency !== null) idempotent.push([projectId, idempotency.key, id, idempotency.bodyHash, createdAt]);
        counters.add(identity, life.held, isQueued(life) ? 1 : 0);
      }
      for (const [sql, params] of rows) tx.runLast(sql, params);
      tx.runLast(INSERT_LARGE_INPUT, large);
      tx.runLast(INSERT_IDEMPOTENCY_KEY, idempotent);
      for (const count of counters.rows()) tx.runLast(COUNT_QUEUE, [count]);
    },

    addChildren(tx: WriteTransaction, parentId: string, count: number): void {
      tx.runLast("UPDATE invocations SET children = children + ? WHERE id = ?", [[count, parentId]]);
    },

    async save(tx: WriteTransaction, changes: readonly Change[]): Promise<void> {
      const counters = new QueueCounters(keys);
      const updates = writer.updates();
      const ended = [];
      const released = [];
      const largeResults = [];
      for (const change of changes) {
        const { identity, before, after } = change;
        let last: EndedExecution | undefined;
        for (const execution of change.ended) {
          const isReleased = change.released.includes(execution.attemptNumber);
          if (isReleased && isLast(execution, after)) last = execution;
          else ended.push(executionParams(identity.id, execution, isReleased));
        }
        writer.addUpdate(updates, identity.id, before, { life: after, last }, tx.dialect);
        const { result } = after;
        if (result !== before.result && isApart(result, tx.dialect)) largeResults.push([identity.id, result]);
        counters.add(identity, after.held - before.held, Number(isQueued(after)) - Number(isQueued(before)));
        for (const attempt of change.released) {
          const endedNow = change.ended.some((execution) => execution.attemptNumber === attempt);
          if (!endedNow) released.push([identity.id, attempt]);
        }
      }
      // Asked for together, so that they travel together: where an invocation is not as it was, nothing of this is kept.
      const updating = together(Array.from(updates, ([sql, params]) => tx.runMany(sql, params)));
      const counting = together([
        tx.runMany(INSERT_EXECUTION, ended),
        tx.runMany(RELEASE_EXECUTION, released),
        tx.runMany(STORE_LARGE_RESULT, largeResults),
        together(Array.from(counters.rows(), (count) => tx.run(COUNT_QUEUE, ...count))),
      ]);
      const isStale = async () => (await updating).reduce((sum, count) => sum + count, 0) !== changes.length;
      try {
        await together([updating, counting]);
      } catch (error) {
        throw (await isStale()) ? new StaleLife() : error; // which may be why the rest failed
      }
      if (await isStale()) throw new StaleLife();
    },
  };
}

function executionParams(invocationId: string, execution: EndedExecution, isReleased: boolean): SqlValue[] {
  return [
    invocationId,
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
    isReleased ? 0 : 1,
  ];
}

/** Adds up what changes in the counters of each queue, so that each is written once. */
class QueueCounters {
  readonly #keys: Keys;
  readonly #deltas = new Map<number, { used: number; queued: number }>();

  constructor(keys: Keys) {
    this.#keys = keys;
  }

  add(identity: Identity, used: number, queued: number): void {
    if (used === 0 && queued === 0) return;
    const key = this.#keys.ofQueue(identity.projectId, identity.functionName);
    const delta = this.#deltas.get(key);
    if (delta === undefined) {
      this.#deltas.set(key, { used, queued });
    } else {
      delta.used += used;
      delta.queued += queued;
    }
  }

  /** Parameters of COUNT_QUEUE, in the order in which all lock the queues, so that two writes never wait for each other. */
  *rows(): Generator<SqlValue[]> {
    for (const [key, { used, queued }] of [...this.#deltas].sort(([a], [b]) => a - b)) {
      if (used !== 0 || queued !== 0) yield [used, queued, key];
    }
  }
}
