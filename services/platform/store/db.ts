/**
 * The port to a database. SQL is written once, in the common part of SQLite and PostgreSQL, with `?` for parameters.
 *
 * D1. `write` answers only when its changes are durable, and runs one at a time or as if it did.
 * D2. `write` may share its commit with others; when its function throws, only its own changes are undone.
 * D3. `read` sees one committed state, and nothing of a durable `write` before that is durable.
 * D4. A relaxed `write` answers when its changes are stored, so that they survive the end of this process. Only with the machine that
 *     this process is on, and all that it was told to, may they be lost, until a later `write` that is not relaxed has answered.
 * D5. Writes answer in the order of their commits.
 * D6. A function given to `read` or `write` awaits nothing but its transaction.
 *     Statements that need nothing of each other may be asked for without waiting in between (`together`): they are run in the
 *     order in which they were asked for.
 * D7. A function given to `read` or `write` may run again, where another changed the same at the same moment: it keeps nothing
 *     of an earlier run.
 * D8. Where several processes share a database, what a write reads may be changed by another before it commits, except rows
 *     that it has locked (`Dialect.forUpdate`) or changed. A write that would violate a unique key is run again first, so that
 *     one that looks before it inserts finds what another has inserted meanwhile.
 * D9. A write that is refused with `Unavailable` was not stored, or its answer was lost: whoever repeats it must bear both.
 */
import type { SteadyClock } from "../clock.js";

export type SqlValue = string | number | null | Uint8Array;

export interface ReadTransaction {
  readonly dialect: Dialect;
  all<R>(sql: string, ...params: readonly SqlValue[]): Promise<R[]>;
  get<R>(sql: string, ...params: readonly SqlValue[]): Promise<R | undefined>;
  /** Rows as lists of values, in the order of the columns: cheaper than objects where rows are many. */
  tuples<R extends readonly SqlValue[]>(sql: string, ...params: readonly SqlValue[]): Promise<R[]>;
}

export interface WriteTransaction extends ReadTransaction {
  /** Answers how many rows were changed. */
  run(sql: string, ...params: readonly SqlValue[]): Promise<number>;
  /**
   * Runs one statement (INSERT, UPDATE or DELETE) for each row of parameters, or one for many of them: no two rows may change
   * the same row of a table. Answers how many rows were changed in all.
   */
  runMany(sql: string, rows: readonly (readonly SqlValue[])[]): Promise<number>;
  /**
   * As `runMany`, when all else of the write is done, in the order in which it was asked for. The write fails where it fails; it
   * may travel with the commit, since nothing is done with its answer.
   */
  runLast(sql: string, rows: readonly (readonly SqlValue[])[]): void;
}

export interface WriteOptions<T> {
  /** Default "durable". */
  readonly durability?: "durable" | "relaxed";
  /** Called at the commit, which may be some time before a durable `write` answers. It must not throw. */
  readonly committed?: (value: T) => void;
}

export interface Db {
  /** The same for all processes that share this database. */
  readonly clock: SteadyClock;
  read<T>(work: (tx: ReadTransaction) => Promise<T>): Promise<T>;
  /** A `read` that also sees what is committed and not yet durable: for decisions, never for answers (D3). */
  peek<T>(work: (tx: ReadTransaction) => Promise<T>): Promise<T>;
  write<T>(work: (tx: WriteTransaction) => Promise<T>, options?: WriteOptions<T>): Promise<T>;
  /** Finishes what is under way and closes. */
  close(): Promise<void>;
}

/** What differs between the databases in otherwise common SQL. */
export interface Dialect {
  /** As `forUpdate`, but rows that others have locked are passed over. */
  readonly skipLocked: string;
  /** Appended to a SELECT whose rows are about to be changed, last: locks them until the end of the write. Nothing in a read. */
  readonly forUpdate: string;
  /** Type of a column of bytes. */
  readonly bytes: string;
  /** Appended to a table whose rows are to lie in the order of its primary key. */
  readonly clustered: string;
  /** Whether a search for a row of such a table reads rows that it passes whole, so that large ones make it slow. */
  readonly readsWholeRows: boolean;
  /** Type of a column of whole numbers up to 2^53. */
  readonly integer: string;
}

/** A step of a schema. Steps are applied in order, each once, and are never changed after their release. */
export interface Migration {
  readonly name: string;
  statements(dialect: Dialect): readonly string[];
}

/**
 * Waits for parts of a write that run side by side. As `Promise.all`, but where one fails the others have ended too when this
 * rejects: none of them may go on in a transaction that is not theirs.
 */
export async function together<T extends readonly unknown[]>(
  parts: T,
): Promise<{ -readonly [Place in keyof T]: Awaited<T[Place]> }> {
  try {
    return await Promise.all(parts);
  } catch (error) {
    await Promise.allSettled(parts);
    throw error;
  }
}

/** As many placeholders as there are values, for `IN (...)`. */
export function placeholders(count: number): string {
  return Array.from({ length: count }, () => "?").join(",");
}
