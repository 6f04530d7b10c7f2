/** Rows of the database as what they mean, and back. */
import type { SqlValue } from "../../platform/store/db.js";
import type { CurrentExecution, Life } from "../domain/life.js";
import type { NewInvocation, StoredExecution, StoredInvocation } from "../store.js";
import { INTERRUPT_CODE, interruptOf, outcomeOf, STATUS_CODE, statusOf } from "./codes.js";

/** Inputs up to this size lie in the invocation's own row, which is rewritten at each change; larger ones do not. */
export const INLINE_INPUT_BYTES = 1_024;

export interface InvocationRow {
  readonly id: string;
  readonly project_id: string;
  readonly project_name: string;
  readonly function_name: string;
  readonly version_id: string;
  readonly parent_id: string | null;
  readonly depth: number;
  readonly created_at: number;
  readonly expires_at: number | null;
  readonly status: number;
  readonly revision: number;
  readonly attempts: number;
  readonly failed_attempts: number;
  readonly held: number;
  readonly terminated: number;
  readonly result: Uint8Array | null;
  readonly error: string;
  readonly started_at: number | null;
  readonly finished_at: number | null;
  readonly cancel_requested_at: number | null;
  readonly available_at: number;
  readonly execution_id: string | null;
  readonly epoch: number;
  readonly scheduler_id: string;
  readonly worker_id: string;
  readonly execution_created_at: number;
  readonly execution_started_at: number | null;
  readonly deadline_at: number | null;
  readonly interrupt: number | null;
  readonly interrupted_at: number | null;
  readonly yield_index: number;
}

/** All columns but the input, the number of children, and the idempotency key with its hash. */
export const COLUMNS = `id, project_id, project_name, function_name, version_id, parent_id, depth, created_at, expires_at,
  status, revision, attempts, failed_attempts, held, terminated, result, error, started_at, finished_at,
  cancel_requested_at, available_at, execution_id, epoch, scheduler_id, worker_id, execution_created_at,
  execution_started_at, deadline_at, interrupt, interrupted_at, yield_index`;

export const INSERT_INVOCATION = `INSERT INTO invocations (id, project_id, project_name, function_name, version_id, parent_id,
  depth, children, idempotency_key, body_hash, input, created_at, expires_at, status, revision, attempts, failed_attempts, held,
  terminated, error, finished_at, cancel_requested_at, available_at)
  VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, 0, 0, 0, ?, '', ?, ?, ?)`;

export function insertParams({ identity, life, input, idempotency }: NewInvocation): SqlValue[] {
  return [
    identity.id,
    identity.projectId,
    identity.projectName,
    identity.functionName,
    identity.versionId,
    identity.parentId,
    identity.depth,
    idempotency?.key ?? null,
    idempotency?.bodyHash ?? null,
    input.byteLength <= INLINE_INPUT_BYTES ? input : null,
    identity.createdAt,
    identity.expiresAt,
    STATUS_CODE[life.status],
    life.revision,
    life.terminated ? 1 : 0,
    life.finishedAt,
    life.cancelRequestedAt,
    life.availableAt,
  ];
}

/** Within its transaction the row was loaded for update, so that nothing can have changed it meanwhile. */
export const UPDATE_INVOCATION = `UPDATE invocations SET status = ?, revision = ?, attempts = ?, failed_attempts = ?, held = ?,
  terminated = ?, result = ?, error = ?, started_at = ?, finished_at = ?, cancel_requested_at = ?, available_at = ?,
  execution_id = ?, epoch = ?, scheduler_id = ?, worker_id = ?, execution_created_at = ?, execution_started_at = ?,
  deadline_at = ?, interrupt = ?, interrupted_at = ?, yield_index = ?
  WHERE id = ?`;

export function updateParams(id: string, life: Life): SqlValue[] {
  const current = life.current;
  return [
    STATUS_CODE[life.status],
    life.revision,
    life.attempts,
    life.failedAttempts,
    life.held,
    life.terminated ? 1 : 0,
    life.result,
    life.error,
    life.startedAt,
    life.finishedAt,
    life.cancelRequestedAt,
    life.availableAt,
    current?.id ?? null,
    current?.epoch ?? null,
    current?.schedulerId ?? null,
    current?.workerId ?? null,
    current?.createdAt ?? null,
    current?.startedAt ?? null,
    current?.deadlineAt ?? null,
    current?.interrupt ? INTERRUPT_CODE[current.interrupt] : null,
    current?.interruptedAt ?? null,
    current?.yieldIndex ?? null,
    id,
  ];
}

export function storedInvocation(row: InvocationRow): StoredInvocation {
  return {
    identity: {
      id: row.id,
      projectId: row.project_id,
      projectName: row.project_name,
      functionName: row.function_name,
      versionId: row.version_id,
      parentId: row.parent_id,
      depth: row.depth,
      createdAt: row.created_at,
      expiresAt: row.expires_at,
    },
    life: {
      status: statusOf(row.status),
      revision: row.revision,
      attempts: row.attempts,
      failedAttempts: row.failed_attempts,
      held: row.held,
      terminated: row.terminated === 1,
      result: row.result,
      error: row.error,
      startedAt: row.started_at,
      finishedAt: row.finished_at,
      cancelRequestedAt: row.cancel_requested_at,
      availableAt: row.available_at,
      current: row.execution_id === null ? null : currentExecution(row, row.execution_id),
    },
  };
}

function currentExecution(row: InvocationRow, id: string): CurrentExecution {
  return {
    id,
    epoch: row.epoch,
    schedulerId: row.scheduler_id,
    workerId: row.worker_id,
    createdAt: row.execution_created_at,
    startedAt: row.execution_started_at,
    deadlineAt: row.deadline_at,
    interrupt: row.interrupt === null ? null : interruptOf(row.interrupt),
    interruptedAt: row.interrupted_at,
    yieldIndex: row.yield_index,
  };
}

export interface ExecutionRow {
  readonly invocation_id: string;
  readonly attempt: number;
  readonly id: string;
  readonly epoch: number;
  readonly scheduler_id: string;
  readonly worker_id: string;
  readonly outcome: number;
  readonly error: string;
  readonly created_at: number;
  readonly started_at: number | null;
  readonly finished_at: number;
  readonly held: number;
}

export function storedExecution(row: ExecutionRow): StoredExecution {
  return {
    invocationId: row.invocation_id,
    attemptNumber: row.attempt,
    id: row.id,
    epoch: row.epoch,
    schedulerId: row.scheduler_id,
    workerId: row.worker_id,
    outcome: outcomeOf(row.outcome),
    error: row.error,
    createdAt: row.created_at,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    held: row.held === 1,
  };
}
