/**
 * SQLite behind the database port, on Node's own `node:sqlite`.
 *
 * S1. A durable `write` answers after the write-ahead log was synchronized with the disk, which is what `synchronous=FULL`
 *     does within the commit. Here it is done beside the event loop (disk_sync.ts), so that what follows from a commit is
 *     prepared meanwhile, and commits that wait at the same time share it. SQLite synchronizes what a checkpoint needs.
 * S2. Writes that wait at the same time share one commit. Each runs in a savepoint, so that one that throws undoes only
 *     itself.
 * S3. Reads use a connection of their own, so that they never see what is not committed.
 * S4. A database that is full or broken ends the whole transaction underneath: then every write of it is refused.
 * S5. A read waits for the disk at most once: commits that come after it stand back until it was done. Else there would
 *     always be a newer one to wait for where the disk is slow.
 */
import { closeSync, openSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { setImmediate as nextTurn } from "node:timers/promises";
import { systemClock } from "../clock.js";
import { diskIsFull, serverIsStopping } from "../errors.js";
import type { Db, Dialect, Migration, ReadTransaction, SqlValue, WriteOptions, WriteTransaction } from "./db.js";
import { DiskSync } from "./disk_sync.js";

const SQLITE_IOERR = 10;
const SQLITE_FULL = 13;

/** Writes that share one commit at most, so that one turn of the event loop stays short. */
const WRITES_PER_COMMIT = 256;

/** A commit that changed more rows than this is one of many: its followers come while the disk is waited for. */
const BUSY_CHANGES = 32;

const DIALECT: Dialect = {
  skipLocked: "",
  forUpdate: "",
  bytes: "BLOB",
  integer: "INTEGER",
  clustered: "WITHOUT ROWID",
  readsWholeRows: true,
};

interface WaitingWrite {
  readonly work: (tx: WriteTransaction) => Promise<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly options: WriteOptions<unknown>;
}

/** Writes of one commit that are still to be answered. */
interface Unanswered {
  /** Undefined: nothing has to be waited for. */
  synced: Promise<void> | undefined;
  readonly answer: (error: unknown) => void;
}

export async function openSqlite(file: string, migrations: readonly Migration[]): Promise<Db> {
  let db: SqliteDb | undefined;
  try {
    db = new SqliteDb(file);
    db.migrate(migrations);
    return db;
  } catch (error) {
    await db?.close();
    if (!isOfDisk(error)) throw error;
    throw new Error(`${file} cannot be opened: its disk is full or broken (${String(error)})`, { cause: error });
  }
}

class SqliteDb implements Db {
  readonly clock = systemClock;
  readonly #writer: Connection;
  readonly #reader: Connection;
  #waiting: WaitingWrite[] = [];
  #flushing: Promise<void> | undefined;
  #closed = false;
  readonly #disk: DiskSync;
  /** The answers of the latest commit, which come after those of all earlier ones (D5); undefined when all are given. */
  #answers: Promise<void> | undefined;
  #readsWaiting = 0;

  constructor(file: string) {
    // For its owner alone, whatever the folder allows; SQLite makes the files beside it like this one.
    closeSync(openSync(file, "a", 0o600));
    const writer = new DatabaseSync(file);
    writer.exec(`PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=4000;
      PRAGMA cache_size=-8000; PRAGMA temp_store=MEMORY; PRAGMA busy_timeout=5000`);
    this.#writer = new Connection(writer);
    const reader = new DatabaseSync(file);
    reader.exec("PRAGMA query_only=ON; PRAGMA cache_size=-8000; PRAGMA temp_store=MEMORY; PRAGMA busy_timeout=5000");
    this.#reader = new Connection(reader);
    this.#disk = new DiskSync(`${file}-wal`);
  }

  migrate(migrations: readonly Migration[]): void {
    const db = this.#writer.db;
    db.exec("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY)");
    const done = new Set(
      db
        .prepare("SELECT name FROM migrations")
        .all()
        .map((row) => row["name"]),
    );
    for (const migration of migrations) {
      if (done.has(migration.name)) continue;
      db.exec("BEGIN IMMEDIATE");
      try {
        for (const statement of migration.statements(DIALECT)) db.exec(statement);
        db.prepare("INSERT INTO migrations (name) VALUES (?)").run(migration.name);
        db.exec("COMMIT");
      } catch (error) {
        db.exec("ROLLBACK");
        throw error;
      }
    }
  }

  async read<T>(work: (tx: ReadTransaction) => Promise<T>): Promise<T> {
    this.#readsWaiting += 1;
    while (this.#answers !== undefined) await this.#answers; // D3
    this.#readsWaiting -= 1;
    return await this.peek(work);
  }

  async peek<T>(work: (tx: ReadTransaction) => Promise<T>): Promise<T> {
    if (this.#closed) throw serverIsStopping();
    // One statement sees one state; several of them in one `read` may straddle a commit only if a write flushes between
    // two microtasks, which it cannot (D6).
    return await work(this.#reader);
  }

  write<T>(work: (tx: WriteTransaction) => Promise<T>, options: WriteOptions<T> = {}): Promise<T> {
    if (this.#closed) return Promise.reject(serverIsStopping());
    return new Promise<T>((resolve, reject) => {
      const write = { work, resolve, reject, options };
      this.#waiting.push(write as WaitingWrite);
      this.#flushing ??= this.#flush();
    });
  }

  async #flush(): Promise<void> {
    while (this.#waiting.length > 0) {
      while (this.#readsWaiting > 0 && this.#answers !== undefined) await this.#answers; // S5
      // Everything that arrives in this turn of the event loop joins the commit, and reads are done with theirs.
      await nextTurn();
      await this.#commit(this.#waiting.splice(0, WRITES_PER_COMMIT));
    }
    this.#flushing = undefined;
  }

  async #commit(batch: readonly WaitingWrite[]): Promise<void> {
    const db = this.#writer.db;
    const answers: (() => void)[] = [];
    const committed: (() => void)[] = [];
    try {
      this.#writer.command("BEGIN IMMEDIATE");
      for (const write of batch) {
        if (batch.length > 1) this.#writer.command("SAVEPOINT w");
        try {
          this.#writer.forgetLast();
          const value = await write.work(this.#writer);
          this.#writer.doLast();
          if (batch.length > 1) this.#writer.command("RELEASE w");
          answers.push(() => write.resolve(value));
          committed.push(() => write.options.committed?.(value));
        } catch (error) {
          if (!db.isTransaction) throw error; // S4
          db.exec(batch.length > 1 ? "ROLLBACK TO w; RELEASE w" : "ROLLBACK");
          answers.push(() => write.reject(asRefusal(error)));
        }
      }
      if (db.isTransaction) this.#writer.command("COMMIT");
    } catch (error) {
      if (db.isTransaction) db.exec("ROLLBACK");
      const refusal = asRefusal(error);
      for (const write of batch) write.reject(refusal);
      return;
    }
    for (const tell of committed) tell();
    const isDurable = batch.some(({ options }) => options.durability !== "relaxed");
    this.#answer({
      synced: isDurable ? this.#disk.sync(this.#writer.takeChanges() > BUSY_CHANGES) : undefined,
      answer: (error) => {
        if (error === undefined) for (const answer of answers) answer();
        else for (const write of batch) write.reject(asRefusal(error));
      },
    });
  }

  /** Answers after all that was committed before (D5), and after the disk has what is durable. */
  #answer({ synced, answer }: Unanswered): void {
    if (synced === undefined && this.#answers === undefined) {
      answer(undefined);
      return;
    }
    const answers = Promise.all([this.#answers, synced]).then(() => answer(undefined), answer);
    this.#answers = answers;
    void answers.then(() => {
      if (this.#answers === answers) this.#answers = undefined;
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#flushing;
    await this.#answers;
    await this.#disk.close();
    this.#reader.db.close();
    this.#writer.db.close();
  }
}

/** One connection with its prepared statements. */
class Connection implements WriteTransaction {
  readonly dialect = DIALECT;
  readonly db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #changes = 0;
  #last: (() => void)[] = [];
  /** Statements that answer rows as lists. */
  readonly #tupleStatements = new Map<string, StatementSync>();

  constructor(db: DatabaseSync) {
    this.db = db;
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** What begins and ends transactions, and changes nothing by itself: prepared, since parsing takes longer than doing it. */
  command(sql: string): void {
    this.#prepare(sql).run();
  }

  async all<R>(sql: string, ...params: readonly SqlValue[]): Promise<R[]> {
    return this.#prepare(sql).all(...params) as R[];
  }

  async get<R>(sql: string, ...params: readonly SqlValue[]): Promise<R | undefined> {
    return this.#prepare(sql).get(...params) as R | undefined;
  }

  async tuples<R extends readonly SqlValue[]>(sql: string, ...params: readonly SqlValue[]): Promise<R[]> {
    let statement = this.#tupleStatements.get(sql);
    if (statement === undefined) {
      statement = this.db.prepare(sql);
      statement.setReturnArrays(true);
      this.#tupleStatements.set(sql, statement);
    }
    return statement.all(...params) as unknown as R[];
  }

  async run(sql: string, ...params: readonly SqlValue[]): Promise<number> {
    return await this.runMany(sql, [params]);
  }

  /** Rows changed since it was last asked. */
  takeChanges(): number {
    const changes = this.#changes;
    this.#changes = 0;
    return changes;
  }

  async runMany(sql: string, rows: readonly (readonly SqlValue[])[]): Promise<number> {
    return this.#runNow(sql, rows);
  }

  runLast(sql: string, rows: readonly (readonly SqlValue[])[]): void {
    this.#last.push(() => this.#runNow(sql, rows));
  }

  doLast(): void {
    for (const run of this.#last) run();
  }

  /** Of a write that failed. */
  forgetLast(): void {
    this.#last = [];
  }

  #runNow(sql: string, rows: readonly (readonly SqlValue[])[]): number {
    if (rows.length === 0) return 0;
    const statement = this.#prepare(sql);
    let changes = 0;
    for (const row of rows) changes += Number(statement.run(...row).changes);
    this.#changes += changes;
    return changes;
  }
}

function isOfDisk(error: unknown): boolean {
  const { errcode = 0 } = error as { errcode?: number };
  const primary = errcode & 0xff;
  return primary === SQLITE_FULL || primary === SQLITE_IOERR;
}

function asRefusal(error: unknown): unknown {
  return isOfDisk(error) ? diskIsFull("server", error) : error;
}
