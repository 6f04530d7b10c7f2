/** Rows of the database as what they mean, and back. */
import { placeholders, type SqlValue } from "../../platform/store/db.js";
import type { CurrentExecution, Life } from "../domain/life.js";
import type { Identity, NewInvocation, StoredExecution, StoredInvocation } from "../store.js";
import { INTERRUPT_CODE, interruptOf, outcomeOf, STATUS_CODE, statusOf } from "./codes.js";

/** Inputs up to this size lie in the invocation's own row, which is rewritten at each change; larger ones do not. */
export const INLINE_INPUT_BYTES = 1_024;

/** What a function's key stands for. */
export type FunctionNames = Pick<Identity, "projectId" | "projectName" | "versionId" | "functionName">;

/** All columns but the input and the number of children, in the order of `InvocationRow`. */
export const COLUMNS = `id, function_key, parent_id, depth, created_at, expires_at, status, revision, attempts,
  failed_attempts, held, terminated, result, error, started_at, finished_at, cancel_requested_at, available_at,
  execution_id, epoch, scheduler_id, worker_id, execution_created_at, execution_started_at, deadline_at, interrupt,
  interrupted_at, yield_index`;

export type InvocationRow = readonly [
  id: string,
  functionKey: number,
  parentId: string | null,
  depth: number,
  createdAt: number,
  expiresAt: number | null,
  status: number,
  revision: number,
  attempts: number,
  failedAttempts: number,
  held: number,
  terminated: number,
  result: Uint8Array | null,
  error: string,
  startedAt: number | null,
  finishedAt: number | null,
  cancelRequestedAt: number | null,
  availableAt: number,
  ...current: CurrentColumns,
];

type CurrentColumns = readonly [
  executionId: string | null,
  epoch: number,
  schedulerId: string,
  workerId: string,
  executionCreatedAt: number,
  executionStartedAt: number | null,
  deadlineAt: number | null,
  interrupt: number | null,
  interruptedAt: number | null,
  yieldIndex: number,
];

/** What changes of an invocation, in the order of `lifeParams`. */
const LIFE_COLUMNS = [
  "status",
  "revision",
  "attempts",
  "failed_attempts",
  "held",
  "terminated",
  "result",
  "error",
  "started_at",
  "finished_at",
  "cancel_requested_at",
  "available_at",
  "execution_id",
  "epoch",
  "scheduler_id",
  "worker_id",
  "execution_created_at",
  "execution_started_at",
  "deadline_at",
  "interrupt",
  "interrupted_at",
  "yield_index",
];

export const INSERT_INVOCATION = `INSERT INTO invocations (id, function_key, queue_key, parent_id, depth, children, input,
  created_at, expires_at, ${LIFE_COLUMNS.join(", ")})
  VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ${placeholders(LIFE_COLUMNS.length)})`;

export function insertParams(
  { identity, life, input }: NewInvocation,
  functionKey: number,
  queueKey: number,
): SqlValue[] {
  return [
    identity.id,
    functionKey,
    queueKey,
    identity.parentId,
    identity.depth,
    input.byteLength <= INLINE_INPUT_BYTES ? input : null,
    identity.createdAt,
    identity.expiresAt,
    ...lifeParams(life),
  ];
}

/** The revision in the condition refuses a change of what was changed by another meanwhile. */
export const UPDATE_INVOCATION = `UPDATE invocations SET ${LIFE_COLUMNS.map((name) => `${name} = ?`).join(", ")}
  WHERE id = ? AND revision = ?`;

export function updateParams(id: string, before: Life, after: Life): SqlValue[] {
  return [...lifeParams(after), id, before.revision];
}

function lifeParams(life: Life): SqlValue[] {
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
  ];
}

/** Values are taken by their place, since rows of this kind are by far the most. */
export function storedInvocation(row: InvocationRow, names: FunctionNames): StoredInvocation {
  return {
    identity: {
      id: row[0],
      projectId: names.projectId,
      projectName: names.projectName,
      functionName: names.functionName,
      versionId: names.versionId,
      parentId: row[2],
      depth: row[3],
      createdAt: row[4],
      expiresAt: row[5],
    },
    life: {
      status: statusOf(row[6]),
      revision: row[7],
      attempts: row[8],
      failedAttempts: row[9],
      held: row[10],
      terminated: row[11] === 1,
      result: row[12],
      error: row[13],
      startedAt: row[14],
      finishedAt: row[15],
      cancelRequestedAt: row[16],
      availableAt: row[17],
      current: row[18] === null ? null : currentExecution(row, row[18]),
    },
  };
}

function currentExecution(row: InvocationRow, id: string): CurrentExecution {
  return {
    id,
    epoch: row[19],
    schedulerId: row[20],
    workerId: row[21],
    createdAt: row[22],
    startedAt: row[23],
    deadlineAt: row[24],
    interrupt: row[25] === null ? null : interruptOf(row[25]),
    interruptedAt: row[26],
    yieldIndex: row[27],
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
