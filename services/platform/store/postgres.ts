/**
 * PostgreSQL behind the database port.
 *
 * P1. Isolation is READ COMMITTED: rows that are about to be changed are locked by who reads them (`forUpdate`), or changed on
 *     condition of their revision. Within one process writes run one at a time, on one connection.
 * P2. Writes that arrive while a commit is under way share the next one. Each runs in a savepoint of its own, so that one that
 *     throws undoes only itself.
 * P3. Only the first write of a commit waits for locks of others. A later one would hold what those before it have locked, so
 *     that two processes could wait for each other: it is undone instead, and is the first of the next commit.
 * P4. A write that met another transaction (a lock, a deadlock, a unique key) is run again a few times.
 * P5. When the connection breaks, all writes of its transaction are refused with Unavailable. If COMMIT was under way they may be
 *     stored all the same: none is repeated here, since their callers know by their request ids, revisions and epochs what a
 *     repetition means. The next write connects anew.
 * P6. Every write is durable, relaxed or not: the server may end while those live who were told of it (D4).
 * P7. A write that is alone in its transaction sends COMMIT right behind what it does last (`runLast`), without waiting for the
 *     answers. Where one of those statements fails, PostgreSQL makes a ROLLBACK of it.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type pg from "pg";
import { Refusal, serverIsStopping } from "../errors.js";
import type { Db, Dialect, Migration, ReadTransaction, WriteOptions, WriteTransaction } from "./db.js";
import { PostgresClock } from "./postgres_clock.js";
import {
  asRefusal,
  ConnectionLost,
  isConflict,
  isStalePlan,
  isUniqueViolation,
  queryError,
  unavailable,
} from "./postgres_errors.js";
import { migrate } from "./postgres_migrations.js";
import { connectAtStart, openPool, type PostgresSettings } from "./postgres_session.js";
import { PostgresTransaction, Statements } from "./postgres_transaction.js";

/** Writes that share one commit. PostgreSQL keeps up to 64 savepoints of a transaction where others find them quickly. */
const WRITES_PER_COMMIT = 60;
/** What has begun to commit takes no more writes after this, so that locks are not held long. */
const GATHERING_MS = 25;
/** P3. Short beside the second after which PostgreSQL looks for deadlocks. */
const LATER_LOCK_TIMEOUT_MS = 10;
/** Runs of one write. */
const MOST_RUNS = 4;
/** Writes that wait. */
const MOST_WAITING = 10_000;
const READ_CONNECTIONS = 4;

const DIALECT: Dialect = {
  skipLocked: " FOR UPDATE SKIP LOCKED",
  forUpdate: " FOR UPDATE",
  bytes: "BYTEA",
  integer: "BIGINT",
  clustered: "",
  readsWholeRows: false,
};

const READ_DIALECT: Dialect = { ...DIALECT, skipLocked: "", forUpdate: "" };

interface WaitingWrite {
  readonly work: (tx: WriteTransaction) => Promise<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly options: WriteOptions<unknown>;
  runs: number;
}

/** @throws Error that says why the database cannot be used, without its password. */
export async function openPostgres(settings: PostgresSettings, migrations: readonly Migration[]): Promise<Db> {
  const client = await connectAtStart(settings);
  try {
    await migrate(client, settings.schema, DIALECT, migrations);
  } finally {
    await client.end();
  }
  const db = new PostgresDb(settings);
  try {
    await db.clock.measure();
  } catch (error) {
    await db.close();
    throw error;
  }
  return db;
}

class PostgresDb implements Db {
  readonly #writers: pg.Pool;
  readonly #readers: pg.Pool;
  readonly #statements = new Statements();
  readonly clock = new PostgresClock(() => this.#time());
  #waiting: WaitingWrite[] = [];
  #flushing: Promise<void> | undefined;
  #closed = false;

  constructor(settings: PostgresSettings) {
    this.#writers = openPool(settings, 1);
    this.#readers = openPool(settings, READ_CONNECTIONS);
  }

  read<T>(work: (tx: ReadTransaction) => Promise<T>): Promise<T> {
    return this.#look(work, true);
  }

  /** What is committed is durable here, so it sees the same, without the cost of a transaction. */
  peek<T>(work: (tx: ReadTransaction) => Promise<T>): Promise<T> {
    return this.#look(work, false);
  }

  write<T>(work: (tx: WriteTransaction) => Promise<T>, options: WriteOptions<T> = {}): Promise<T> {
    if (this.#closed) return Promise.reject(serverIsStopping());
    if (this.#waiting.length >= MOST_WAITING) {
      return Promise.reject(new Refusal("Unavailable", `${MOST_WAITING} writes are waiting for the database`));
    }
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ work, resolve, reject, options, runs: 0 } as WaitingWrite);
      this.#flushing ??= this.#flush();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.clock.close();
    await this.#flushing;
    await Promise.all([this.#writers.end(), this.#readers.end()]);
  }

  async #time(): Promise<number> {
    const client = await connected(this.#readers);
    try {
      const { rows } = await client.query<{ now: number }>(
        "SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS now",
      );
      client.release();
      return rows[0]?.now ?? Number.NaN;
    } catch (error) {
      client.release(true);
      throw asRefusal(queryError(error));
    }
  }

  async #look<T>(work: (tx: ReadTransaction) => Promise<T>, asOne: boolean): Promise<T> {
    for (let isLast = false; ; isLast = true) {
      if (this.#closed) throw serverIsStopping();
      const client = await connected(this.#readers);
      const tx = new PostgresTransaction(client, this.#statements, READ_DIALECT);
      if (asOne) tx.send("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
      try {
        const value = await work(tx);
        if (asOne) tx.send("COMMIT");
        client.release();
        return value;
      } catch (error) {
        if (asOne) tx.send("ROLLBACK");
        client.release(error instanceof ConnectionLost || isStalePlan(error));
        if (isLast || !isStalePlan(error)) throw asRefusal(error);
      } finally {
        tx.end();
      }
    }
  }

  async #flush(): Promise<void> {
    // Everything that arrives in this turn of the event loop joins the commit.
    await nextTurn();
    while (this.#waiting.length > 0) await this.#share(this.#waiting.splice(0, WRITES_PER_COMMIT));
    this.#flushing = undefined;
  }

  /** Runs writes in one transaction, and answers them after its commit. */
  async #share(batch: readonly WaitingWrite[]): Promise<void> {
    const commit = new SharedCommit(batch);
    try {
      const client = await connected(this.#writers);
      try {
        await commit.run(() => new PostgresTransaction(client, this.#statements, DIALECT));
        client.release(commit.hasStalePlans);
      } catch (error) {
        client.release(true);
        throw error;
      }
    } catch (error) {
      const refusal = commit.isUnderWay ? unknownOutcome(error) : asRefusal(error);
      for (const write of batch) write.reject(refusal);
      return;
    }
    this.#waiting.unshift(...commit.again);
    for (const tell of commit.committed) tell();
    for (const answer of commit.answers) answer();
  }
}

/** One transaction of several writes. */
class SharedCommit {
  readonly committed: (() => void)[] = [];
  readonly answers: (() => void)[] = [];
  /** To be run with the next commit. */
  readonly again: WaitingWrite[] = [];
  isUnderWay = false;
  hasStalePlans = false;
  readonly #batch: readonly WaitingWrite[];

  constructor(batch: readonly WaitingWrite[]) {
    this.#batch = batch;
  }

  /** Rejects where none of the writes may be answered. `open` answers the transaction as one of them sees it. */
  async run(open: () => PostgresTransaction): Promise<void> {
    const tx = open();
    tx.send("BEGIN");
    const [first, ...others] = this.#batch;
    if (first !== undefined && others.length === 0) await this.#runAlone(first, tx, open());
    else await this.#runAll(tx, open);
  }

  /** P7 */
  async #runAlone(write: WaitingWrite, tx: PostgresTransaction, own: PostgresTransaction): Promise<void> {
    let committing: Promise<void> | undefined;
    const commit = () => {
      committing = this.#commit(tx);
      committing.catch(() => {}); // told below, unless what went before it has failed
    };
    try {
      const value = await write.work(own);
      await own.doLast(commit);
      this.#stored(write, value);
    } catch (error) {
      if (error instanceof ConnectionLost) throw error;
      if (committing === undefined) tx.send("ROLLBACK");
      this.#refuseOrRepeat(write, error);
      return;
    } finally {
      own.end();
    }
    await committing;
  }

  async #runAll(tx: PostgresTransaction, open: () => PostgresTransaction): Promise<void> {
    const startedAt = performance.now();
    for (const [index, write] of this.#batch.entries()) {
      if (index > 0 && performance.now() - startedAt > GATHERING_MS) {
        this.again.push(...this.#batch.slice(index));
        break;
      }
      if (index === 1) tx.send(`SET LOCAL lock_timeout = ${LATER_LOCK_TIMEOUT_MS}`); // P3
      tx.send("SAVEPOINT w");
      const own = open();
      try {
        const value = await write.work(own);
        await own.doLast();
        tx.send("RELEASE SAVEPOINT w");
        this.#stored(write, value);
      } catch (error) {
        if (error instanceof ConnectionLost) throw error;
        tx.send("ROLLBACK TO SAVEPOINT w; RELEASE SAVEPOINT w");
        this.#refuseOrRepeat(write, error);
      } finally {
        own.end();
      }
    }
    await this.#commit(tx);
  }

  /** To be told once the commit is done. */
  #stored(write: WaitingWrite, value: unknown): void {
    this.committed.push(() => write.options.committed?.(value));
    this.answers.push(() => write.resolve(value));
  }

  async #commit(tx: PostgresTransaction): Promise<void> {
    this.isUnderWay = true;
    const done = await tx.command("COMMIT");
    if (done === "COMMIT") return;
    this.isUnderWay = false;
    throw new Error(`a transaction ended with ${done} in place of COMMIT`);
  }

  #refuseOrRepeat(write: WaitingWrite, error: unknown): void {
    write.runs += 1;
    const isStale = isStalePlan(error);
    if (isStale) this.hasStalePlans = true;
    const mayRepeat = isConflict(error) || isUniqueViolation(error) || isStale;
    if (mayRepeat && write.runs < MOST_RUNS) this.again.push(write);
    else this.answers.push(() => write.reject(asRefusal(error)));
  }
}

async function connected(pool: pg.Pool): Promise<pg.PoolClient> {
  try {
    return await pool.connect();
  } catch (error) {
    throw asRefusal(queryError(error));
  }
}

function unknownOutcome(error: unknown): unknown {
  if (!(error instanceof ConnectionLost)) return asRefusal(error);
  return unavailable("the database did not say whether this was stored: it may be", error);
}
