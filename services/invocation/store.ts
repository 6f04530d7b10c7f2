/**
 * The port to what is stored of invocations. Methods that change take a write transaction, so that a use case decides
 * what belongs together; none of them decides anything itself.
 */
import type { ReadTransaction, WriteTransaction } from "../platform/store/db.js";
import type { EndedExecution, Life } from "./domain/life.js";

/** What an idempotency key was first used for. */
export interface FirstStart {
  readonly id: string;
  readonly bodyHash: Uint8Array;
  readonly createdAt: number;
}

/** What never changes of an invocation. */
export interface Identity {
  readonly id: string;
  readonly projectId: string;
  readonly projectName: string;
  readonly functionName: string;
  readonly versionId: string;
  readonly parentId: string | null;
  /** 0 for one that was started from outside. */
  readonly depth: number;
  readonly createdAt: number;
  readonly expiresAt: number | null;
}

/** A stored invocation. */
export interface StoredInvocation {
  readonly identity: Identity;
  readonly life: Life;
}

export interface NewInvocation extends StoredInvocation {
  /** Encoded `Arguments`. */
  readonly input: Uint8Array;
  readonly idempotency: { readonly key: string; readonly bodyHash: Uint8Array } | null;
}

/** A change of one invocation, as the state machine made it. */
export interface Change {
  readonly identity: Identity;
  readonly before: Life;
  readonly after: Life;
  readonly ended: readonly EndedExecution[];
  /** Attempt numbers of ended executions that gave back their worker. */
  readonly released: readonly number[];
}

/** An invocation was changed by another since its life was read. */
export class StaleLife extends Error {
  constructor() {
    super("an invocation was changed meanwhile");
    this.name = "StaleLife";
  }
}

export interface StoredExecution extends EndedExecution {
  readonly invocationId: string;
  readonly held: boolean;
}

export type QueueName = Pick<Identity, "projectId" | "functionName">;

/** "projectId/functionName" */
export function queueName({ projectId, functionName }: QueueName): string {
  return `${projectId}/${functionName}`;
}

export interface QueueRow extends QueueName {
  readonly slotLimit: number;
  readonly used: number;
  readonly queued: number;
}

/** A queue as operators are shown it. */
export interface QueueState extends QueueRow {
  /** Empty: what is left of one that is being deleted. */
  readonly projectName: string;
  /** When the first of what waits may be leased, or could have been; null: nothing waits. */
  readonly firstAvailableAt: number | null;
}

/** A function that is being started. */
export interface WantedFunction {
  readonly projectId: string;
  readonly projectName: string;
  readonly versionId: string;
  readonly functionName: string;
  /** Encoded `FunctionSpec`, every default filled in. */
  readonly spec: Uint8Array;
  readonly slotLimit: number;
}

export interface ListFilter {
  readonly projectId: string;
  readonly functionName: string;
  readonly versionId: string;
  /** Empty: all. */
  readonly statuses: readonly Life["status"][];
  readonly parentId: string;
  readonly createdFrom: number | null;
  readonly createdBefore: number | null;
}

/** Some of a listing. */
export interface ListedPart {
  /** Without their results. */
  readonly items: readonly StoredInvocation[];
  /** After what the next part begins; null: this was the last. */
  readonly position: string | null;
  /** Rows that were looked at. */
  readonly looked: number;
}

/** Some of those that were started long ago. */
export interface OldPart {
  /** Terminated before the time that was asked for, without children. */
  readonly ids: readonly string[];
  /** The last that was looked at; null: there are no more. */
  readonly position: string | null;
}

export interface LogLineRow {
  readonly executionId: string;
  readonly lineNumber: number;
  readonly timeMs: number;
  readonly stream: number;
  readonly level: string;
  readonly text: string;
  /** 1: beside the worker's own lines; 0: one of these. */
  readonly printed: number;
}

/** How much of the log of an execution is stored. */
export interface LogState {
  readonly executionId: string;
  readonly lastLine: number;
  readonly printedLines: number;
}

export interface InvocationStore {
  // Invocations. What a write loads of them is locked until its end, so that nobody else changes it meanwhile.
  /** At the end of the write (`runLast`). */
  insert(tx: WriteTransaction, invocations: readonly NewInvocation[]): void;
  /** Answers those that exist, in no order. */
  load(tx: ReadTransaction, ids: readonly string[]): Promise<StoredInvocation[]>;
  /**
   * Saves changes, the ended executions and the counters of the queues with them.
   * @throws StaleLife where an invocation is not as it was before its change: nothing may be kept of the transaction.
   */
  save(tx: WriteTransaction, changes: readonly Change[]): Promise<void>;
  loadEnded(tx: ReadTransaction, invocationId: string): Promise<StoredExecution[]>;
  findIdempotent(tx: ReadTransaction, projectId: string, key: string): Promise<FirstStart | undefined>;
  forgetIdempotencyKey(tx: WriteTransaction, projectId: string, key: string): Promise<void>;
  countChildren(tx: ReadTransaction, parentId: string): Promise<number>;
  /** At the end of the write. */
  addChildren(tx: WriteTransaction, parentId: string, count: number): void;
  /** Unfinished descendants whose cancellation was not asked for, through finished ones too. */
  loadUncancelledDescendants(tx: ReadTransaction, id: string, atMost: number): Promise<StoredInvocation[]>;
  /** Newest first, after `beforeId` where that is given. It takes a moment at most: fewer than asked for may be the answer. */
  list(tx: ReadTransaction, filter: ListFilter, beforeId: string | null, atMost: number): Promise<ListedPart>;

  // Queues and leases
  /** Those with the most to wait for first. */
  queueStates(tx: ReadTransaction, atMost: number): Promise<QueueState[]>;
  /** Queues with queued invocations and free slots. */
  leasableQueues(tx: ReadTransaction): Promise<QueueRow[]>;
  /**
   * Stores functions where they are not yet, and answers their queues, locked, made where there is none, with the slot limit
   * of the newest version that was started. Undefined where there was none and its project is being cancelled; where there
   * was one, `isProjectCancelled` is to be asked after this.
   */
  ensureFunctions(tx: WriteTransaction, functions: readonly WantedFunction[]): Promise<(QueueRow | undefined)[]>;
  /** Oldest first, those that may be leased at `now`, no more than there are free slots. The queue is locked. */
  loadQueued(
    tx: WriteTransaction,
    projectId: string,
    functionName: string,
    now: number,
    atMost: number,
  ): Promise<{ invocation: StoredInvocation; input: Uint8Array }[]>;
  /** When the first of what waits in these queues may be leased; it may be in the past. */
  nextAvailableAt(tx: ReadTransaction, queues: readonly QueueName[]): Promise<number | null>;
  /** Answers until when it was leased before, or null where it was not. */
  renewScheduler(tx: WriteTransaction, schedulerId: string, leaseUntil: number): Promise<number | null>;
  /** Whether the lease of a scheduler lasts for at least half of the time. */
  isSchedulerHeld(tx: ReadTransaction, schedulerId: string, now: number, leaseDurationMs: number): Promise<boolean>;
  /** Makes sure that it does. */
  holdScheduler(tx: WriteTransaction, schedulerId: string, now: number, leaseDurationMs: number): Promise<void>;
  expiredSchedulers(tx: ReadTransaction, now: number): Promise<string[]>;
  /** Those whose lease lasts. */
  livingSchedulers(tx: ReadTransaction, now: number): Promise<string[]>;
  forgetScheduler(tx: WriteTransaction, schedulerId: string): Promise<void>;
  loadLeased(tx: ReadTransaction, schedulerId: string): Promise<StoredInvocation[]>;
  loadInterrupted(tx: ReadTransaction, schedulerId: string): Promise<StoredInvocation[]>;
  loadHeldEnded(tx: ReadTransaction, schedulerId: string): Promise<StoredExecution[]>;

  // Deadlines
  loadExpired(tx: ReadTransaction, now: number, atMost: number): Promise<StoredInvocation[]>;
  /** Those whose scheduler's lease lasts. */
  loadPastDeadline(tx: ReadTransaction, now: number, atMost: number): Promise<StoredInvocation[]>;
  /** The earliest deadline or expiry. */
  nextDeadline(tx: ReadTransaction): Promise<number | null>;

  // Functions
  /** Encoded `FunctionSpec` of a function that was started. */
  loadSpec(tx: ReadTransaction, versionId: string, functionName: string): Promise<Uint8Array | undefined>;

  // Cancellations that have not reached all descendants
  putCascade(tx: WriteTransaction, invocationId: string): Promise<void>;
  loadCascades(tx: ReadTransaction, atMost: number): Promise<string[]>;
  forgetCascade(tx: WriteTransaction, invocationId: string): Promise<void>;

  // Requests to start
  findRequest(
    tx: ReadTransaction,
    requestId: string,
  ): Promise<{ bodyHash: Uint8Array; outcomes: Uint8Array } | undefined>;
  /** At the end of the write. */
  putRequest(
    tx: WriteTransaction,
    request: { requestId: string; bodyHash: Uint8Array; outcomes: Uint8Array; createdAt: number },
  ): void;
  /** Requests and idempotency keys, of each no more than `atMost`; answers whether more may be left. */
  forgetRequests(tx: WriteTransaction, createdBefore: number, atMost: number): Promise<boolean>;

  // Invocations that ended long ago
  /** Ids after `afterId` of those that may have ended before then, the oldest first. */
  loadOld(tx: ReadTransaction, endedBefore: number, afterId: string, atMost: number): Promise<OldPart>;
  /**
   * Removes invocations, whose ids are sorted, with their executions and logs: as many as `atMostRows` of all tables allow, where
   * payloads count by their size, and of one that has more a part of its logs. Answers how many of the first are done with:
   * gone, or being removed by another.
   */
  removeInvocations(tx: WriteTransaction, ids: readonly string[], atMostRows: number): Promise<number>;

  // Projects that are being deleted
  /** Starts that began before are waited for, and are stored when this is. Those that come after are to be refused. */
  cancelProject(tx: WriteTransaction, projectId: string): Promise<void>;
  isProjectCancelled(tx: ReadTransaction, projectId: string): Promise<boolean>;
  loadUncancelledOfProject(tx: ReadTransaction, projectId: string, atMost: number): Promise<StoredInvocation[]>;
  isProjectTerminated(tx: ReadTransaction, projectId: string): Promise<boolean>;
  /**
   * Removes a part of the project; answers whether anything is left. `rows`: of all tables, lines of logs above all; more only
   * where one execution has printed more.
   */
  purgeProject(
    tx: WriteTransaction,
    projectId: string,
    atMost: { readonly invocations: number; readonly rows: number },
  ): Promise<boolean>;

  // Logs
  appendLogs(tx: WriteTransaction, lines: readonly LogLineRow[]): Promise<void>;
  /** Of those that have a line. */
  logStates(tx: ReadTransaction, executionIds: readonly string[]): Promise<LogState[]>;
  /** Lines of one execution after a line number, oldest first. */
  loadLogs(tx: ReadTransaction, executionId: string, afterLine: number, atMost: number): Promise<LogLineRow[]>;

  /** The secret of this name, made with `make` where there is none. */
  secret(tx: WriteTransaction, name: string, make: () => Uint8Array): Promise<Uint8Array>;
}
