/** Rows of the database as what they mean, and back. */
import { type Dialect, placeholders, type SqlValue } from "../../platform/store/db.js";
import { type CurrentExecution, type EndedExecution, type Life, NEW_LIFE } from "../domain/life.js";
import type { Identity, NewInvocation, StoredExecution, StoredInvocation } from "../store.js";
import { INTERRUPT_CODE, interruptOf, OUTCOME_CODE, outcomeOf, STATUS_CODE, statusOf } from "./codes.js";

/**
 * Inputs and results up to this size lie in the invocation's own row, which is rewritten at each change; larger ones have tables
 * of their own, results only where that helps (`Dialect.readsWholeRows`). SQLite keeps about 1,000 bytes of a row at hand.
 */
export const INLINE_BYTES = 512;

/** What a function's key stands for. */
export type FunctionNames = Pick<Identity, "projectId" | "projectName" | "versionId" | "functionName">;

/** All columns but the input and the number of children, in the order of `InvocationRow`. */
export const COLUMNS = columnsWith(`CASE result_apart WHEN 1
  THEN (SELECT large_results.result FROM large_results WHERE invocation_id = invocations.id) ELSE result END AS result`);

/** The same without results, which may be large and which no listing shows. */
export const LISTED_COLUMNS = columnsWith("NULL AS result");

function columnsWith(result: string): string {
  return `id, function_key, parent_id, depth, created_at, expires_at, status, revision, attempts,
  failed_attempts, held, terminated, ${result}, error, started_at, finished_at, cancel_requested_at, available_at,
  execution_id, epoch, scheduler_id, worker_id, execution_created_at, execution_started_at, deadline_at, interrupt,
  interrupted_at, yield_index, outcome`;
}

/** Of rows with a current execution: the condition of the partial index of leases. */
export const HAS_CURRENT = "execution_id IS NOT NULL AND outcome IS NULL";

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
  outcome: number | null,
];

/** An invocation's row as it is to be stored: its life, and its last execution once all is over. */
export interface RowState {
  readonly life: Life;
  /** Present where it ended with its invocation and holds no worker: then it stays in the row (`isLast`). */
  readonly last?: EndedExecution | undefined;
}

/** What of a row changes, and what a new row has where nothing is said. */
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
  "outcome",
  "result_apart",
] as const;

/** Whether a result lies in `large_results`, and not in the row. */
export function isApart(result: Uint8Array | null, { readsWholeRows }: Dialect): boolean {
  return readsWholeRows && result !== null && result.byteLength > INLINE_BYTES;
}

function lifeParams({ life, last }: RowState, dialect: Dialect): SqlValue[] {
  const isResultApart = isApart(life.result, dialect);
  const current = life.current;
  const execution = current ?? last;
  return [
    STATUS_CODE[life.status],
    life.revision,
    life.attempts,
    life.failedAttempts,
    life.held,
    life.terminated ? 1 : 0,
    isResultApart ? null : life.result,
    life.error,
    life.startedAt,
    life.finishedAt,
    life.cancelRequestedAt,
    life.availableAt,
    execution?.id ?? null,
    execution?.epoch ?? null,
    execution?.schedulerId ?? null,
    execution?.workerId ?? null,
    execution?.createdAt ?? null,
    execution?.startedAt ?? null,
    current?.deadlineAt ?? null,
    current?.interrupt ? INTERRUPT_CODE[current.interrupt] : null,
    current?.interruptedAt ?? null,
    current?.yieldIndex ?? null,
    current === null && last !== undefined ? OUTCOME_CODE[last.outcome] : null,
    isResultApart ? 1 : 0,
  ];
}

/**
 * Rows that are written with one statement: those in which the same columns change. A column costs about as much as a
 * tenth of the row, and most changes are of few.
 */
export class RowBatches {
  /** Set of columns, as bits → their statement. The same for all batches. */
  readonly #statements: Map<number, string>;
  readonly #statementOf: (columns: readonly string[]) => string;
  readonly #rows = new Map<number, SqlValue[][]>();

  constructor(statements: Map<number, string>, statementOf: (columns: readonly string[]) => string) {
    this.#statements = statements;
    this.#statementOf = statementOf;
  }

  /** `before` and `after`: values of all LIFE_COLUMNS. `rest`: the statement's other parameters, which follow. */
  add(before: readonly SqlValue[], after: readonly SqlValue[], rest: readonly SqlValue[]): void {
    let columns = 0;
    const params: SqlValue[] = [];
    for (let i = 0; i < after.length; i++) {
      const value = after[i] as SqlValue;
      if (value === before[i]) continue;
      columns |= 1 << i;
      params.push(value);
    }
    for (const value of rest) params.push(value);
    const rows = this.#rows.get(columns);
    if (rows === undefined) this.#rows.set(columns, [params]);
    else rows.push(params);
  }

  *[Symbol.iterator](): Generator<readonly [sql: string, rows: SqlValue[][]]> {
    for (const [columns, rows] of this.#rows) {
      let sql = this.#statements.get(columns);
      if (sql === undefined) {
        sql = this.#statementOf(LIFE_COLUMNS.filter((_name, i) => columns & (1 << i)));
        this.#statements.set(columns, sql);
      }
      yield [sql, rows];
    }
  }
}

function insertStatement(columns: readonly string[]): string {
  const names = [
    ...columns,
    "id",
    "function_key",
    "queue_key",
    "parent_id",
    "depth",
    "input",
    "created_at",
    "expires_at",
  ];
  return `INSERT INTO invocations (${names.join(", ")}) VALUES (${placeholders(names.length)})`;
}

/** The revision in the condition refuses a change of what was changed by another meanwhile. */
function updateStatement(columns: readonly string[]): string {
  return `UPDATE invocations SET ${columns.map((name) => `${name} = ?`).join(", ")} WHERE id = ? AND revision = ?`;
}

/** Writes rows of `invocations`. */
export class RowWriter {
  readonly #inserts = new Map<number, string>();
  readonly #updates = new Map<number, string>();
  #newRow: SqlValue[] | undefined;

  inserts(): RowBatches {
    return new RowBatches(this.#inserts, insertStatement);
  }

  updates(): RowBatches {
    return new RowBatches(this.#updates, updateStatement);
  }

  addInsert(
    batches: RowBatches,
    { identity, life, input }: NewInvocation,
    functionKey: number,
    queueKey: number,
    dialect: Dialect,
  ): void {
    const { id, parentId, depth, createdAt, expiresAt } = identity;
    const inline = input.byteLength <= INLINE_BYTES ? input : null;
    const rest = [id, functionKey, queueKey, parentId, depth, inline, createdAt, expiresAt];
    this.#newRow ??= lifeParams({ life: NEW_LIFE }, dialect);
    batches.add(this.#newRow, lifeParams({ life }, dialect), rest);
  }

  addUpdate(batches: RowBatches, id: string, before: Life, after: RowState, dialect: Dialect): void {
    batches.add(lifeParams({ life: before }, dialect), lifeParams(after, dialect), [id, before.revision]);
  }
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
      current: row[18] === null || row[28] !== null ? null : currentExecution(row, row[18]),
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

/**
 * Whether an execution stays in the row of its invocation: it ended with it, and nothing more is to be known of it than the
 * row says.
 */
export function isLast(ended: EndedExecution, life: Life): boolean {
  const error = ended.outcome === "FAILED" ? life.error : "";
  return ended.attemptNumber === life.attempts && ended.finishedAt === life.finishedAt && ended.error === error;
}

/** The execution that stayed in its invocation's row; undefined where there is none. */
export function lastExecution(row: InvocationRow): StoredExecution | undefined {
  const [id, outcome] = [row[18], row[28]];
  if (id === null || outcome === null) return undefined;
  return {
    invocationId: row[0],
    attemptNumber: row[8],
    id,
    epoch: row[19],
    schedulerId: row[20],
    workerId: row[21],
    outcome: outcomeOf(outcome),
    error: outcomeOf(outcome) === "FAILED" ? row[13] : "",
    createdAt: row[22],
    startedAt: row[23],
    finishedAt: row[15] ?? row[22],
    held: false,
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
