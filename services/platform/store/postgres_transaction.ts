/**
 * A transaction on one connection, as one read or write sees it. The connection is pipelined: statements are sent as they are
 * asked for, without waiting for the answers to those before, and answered in their order. Those of one turn of the event loop
 * travel as one packet: a packet costs as much as a small statement, here and there.
 */
import type { Writable } from "node:stream";
import type { ClientBase, QueryResult } from "pg";
import { type Dialect, type SqlValue, together, type WriteTransaction } from "./db.js";
import { isConsequence, queryError } from "./postgres_errors.js";
import { arrayText, forManyRows, inParts, numbered } from "./postgres_statements.js";

/** Statements that connections keep prepared; others are parsed each time. */
const MOST_PREPARED = 1_000;

interface QueryOfRows {
  readonly statement: Statement;
  readonly params: readonly SqlValue[];
}

interface Statement {
  readonly text: string;
  readonly name: string | undefined;
}

/** Statements as PostgreSQL takes them, by the text of the port. The same for all connections of a database. */
export class Statements {
  readonly #single = new Map<string, Statement>();
  readonly #many = new Map<string, Statement | undefined>();
  #names = 0;

  of(sql: string): Statement {
    let statement = this.#single.get(sql);
    if (statement === undefined) {
      statement = { text: numbered(sql), name: this.#nextName() };
      if (statement.name !== undefined) this.#single.set(sql, statement);
    }
    return statement;
  }

  /** The form for many rows; undefined: there is none, or it is not known yet. */
  many(sql: string): Statement | undefined {
    return this.#many.get(sql);
  }

  knowsMany(sql: string): boolean {
    return this.#many.has(sql);
  }

  /** `types`: of the parameters. */
  learnMany(sql: string, types: readonly string[]): void {
    const text = forManyRows(sql, types);
    this.#many.set(sql, text === undefined ? undefined : { text, name: this.#nextName() });
  }

  #nextName(): string | undefined {
    if (this.#names >= MOST_PREPARED) return undefined;
    this.#names += 1;
    return `multinode_${this.#names}`;
  }
}

/** Connections whose statements are being gathered. */
const gathering = new WeakSet<Writable>();

/** Holds back what is sent on a connection until the code that runs now, with all that follows from it at once, is done. */
function gather(client: ClientBase): void {
  const { stream } = (client as unknown as { connection: { stream: Writable } }).connection;
  if (gathering.has(stream)) return;
  gathering.add(stream);
  stream.cork();
  process.nextTick(() => {
    gathering.delete(stream);
    stream.uncork();
  });
}

export class PostgresTransaction implements WriteTransaction {
  readonly dialect: Dialect;
  readonly #client: ClientBase;
  readonly #statements: Statements;
  /** What failed first: why all that was sent after it failed too. */
  #failure: unknown;
  #isOver = false;
  /** While the form of a statement for many rows is being learned. */
  #learning: Promise<void> | undefined;
  readonly #last: { readonly sql: string; readonly rows: readonly (readonly SqlValue[])[] }[] = [];

  constructor(client: ClientBase, statements: Statements, dialect: Dialect) {
    this.#client = client;
    this.#statements = statements;
    this.dialect = dialect;
  }

  async all<R>(sql: string, ...params: readonly SqlValue[]): Promise<R[]> {
    return (await this.#query(this.#statements.of(sql), params)).rows as R[];
  }

  async get<R>(sql: string, ...params: readonly SqlValue[]): Promise<R | undefined> {
    return (await this.#query(this.#statements.of(sql), params)).rows[0] as R | undefined;
  }

  async tuples<R extends readonly SqlValue[]>(sql: string, ...params: readonly SqlValue[]): Promise<R[]> {
    const query = { ...this.#statements.of(sql), values: [...params], rowMode: "array" as const };
    return (await this.#answerOf(() => this.#client.query(query))).rows as unknown as R[];
  }

  async run(sql: string, ...params: readonly SqlValue[]): Promise<number> {
    return (await this.#query(this.#statements.of(sql), params)).rowCount ?? 0;
  }

  async runMany(sql: string, rows: readonly (readonly SqlValue[])[]): Promise<number> {
    if (this.#isStrange(sql, rows)) await this.#learn(sql);
    return await this.#runAll(this.#queriesFor(sql, rows));
  }

  runLast(sql: string, rows: readonly (readonly SqlValue[])[]): void {
    if (this.#isOver) throw lateError();
    this.#last.push({ sql, rows });
  }

  /** Sends what is to be done last. `sent` is called in the turn in which all of it was sent, so that what it sends follows at once. */
  async doLast(sent: () => void = () => {}): Promise<void> {
    while (this.#learning !== undefined) await this.#learned();
    for (const { sql, rows } of this.#last) if (this.#isStrange(sql, rows)) await this.#learn(sql);
    // Made before any is sent: nothing is to fail here in between.
    const queries = this.#last.flatMap(({ sql, rows }) => this.#queriesFor(sql, rows));
    const done = this.#runAll(queries);
    sent();
    await done;
  }

  #queriesFor(sql: string, rows: readonly (readonly SqlValue[])[]): QueryOfRows[] {
    const many = rows.length > 1 ? this.#statements.many(sql) : undefined;
    const queries: QueryOfRows[] = [];
    for (const part of inParts(rows)) {
      if (many === undefined || part.length === 1) {
        for (const row of part) queries.push({ statement: this.#statements.of(sql), params: row });
      } else {
        const params = (part[0] ?? []).map((_, index) => arrayText(part, index));
        queries.push({ statement: many, params });
      }
    }
    return queries;
  }

  /** Answers how many rows were changed. */
  async #runAll(queries: readonly QueryOfRows[]): Promise<number> {
    const results = await together(queries.map(({ statement, params }) => this.#query(statement, params)));
    return results.reduce((sum, { rowCount }) => sum + (rowCount ?? 0), 0);
  }

  /** Statements without parameters, such as BEGIN. Answers the name of the last one that was done. */
  async command(text: string): Promise<string> {
    try {
      gather(this.#client);
      const result: QueryResult | QueryResult[] = await this.#client.query(text);
      return (Array.isArray(result) ? result.at(-1) : result)?.command ?? "";
    } catch (error) {
      throw queryError(error);
    }
  }

  /** As `command`, where what follows in the same transaction fails too if it does. */
  send(text: string): void {
    this.command(text).catch(() => {});
  }

  /** Whether its form for many rows is needed and not known. */
  #isStrange(sql: string, rows: readonly unknown[]): boolean {
    return rows.length > 1 && !this.#statements.knowsMany(sql);
  }

  /** What is asked for meanwhile waits for it, and so stays behind the statement that it is for. */
  async #learn(sql: string): Promise<void> {
    while (this.#learning !== undefined) await this.#learned();
    if (this.#statements.knowsMany(sql)) return;
    this.#learning = this.#typesOf(sql)
      .then((types) => this.#statements.learnMany(sql, types))
      .finally(() => {
        this.#learning = undefined;
      });
    await this.#learning;
  }

  /** To be asked for again until there is nothing to learn: another may have begun, whose place is before. */
  async #learned(): Promise<void> {
    await this.#learning?.catch(() => {}); // told to who asked for it
  }

  /** PostgreSQL tells the types of parameters of statements that were prepared by SQL. */
  async #typesOf(sql: string): Promise<readonly string[]> {
    const name = "multinode_types";
    this.send(`PREPARE ${name} AS ${numbered(sql)}`);
    const text = "SELECT parameter_types::text[] AS types FROM pg_prepared_statements WHERE name = $1";
    const asking = this.#ask(() => this.#client.query<{ types: string[] }>({ text, values: [name] }));
    this.send(`DEALLOCATE ${name}`);
    return (await asking).rows[0]?.types ?? [];
  }

  /** The read or write is over: what it may still ask for would be in a transaction that is not its own. */
  end(): void {
    this.#isOver = true;
  }

  async #query({ text, name }: Statement, params: readonly SqlValue[]): Promise<QueryResult> {
    const query = { text, ...(name === undefined ? {} : { name }), values: [...params] };
    return await this.#answerOf(() => this.#client.query(query));
  }

  async #answerOf<T>(ask: () => Promise<T>): Promise<T> {
    while (this.#learning !== undefined) await this.#learned();
    return await this.#ask(ask);
  }

  async #ask<T>(ask: () => Promise<T>): Promise<T> {
    if (this.#isOver) throw lateError();
    try {
      gather(this.#client);
      return await ask();
    } catch (error) {
      const failure = queryError(error);
      this.#failure ??= failure;
      throw isConsequence(failure) ? this.#failure : failure;
    }
  }
}

function lateError(): Error {
  return new Error("a statement was asked for after the end of its transaction");
}
