/** Connections to PostgreSQL: how they are set, and what a server must be before it is used. */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { isPassing } from "./postgres_errors.js";

export interface PostgresSettings {
  /** "postgresql://user:password@host:port/database". The server's certificate is checked with "?sslmode=verify-full". */
  readonly url: string;
  /** Holds the tables; made where it is missing. Lower case letters. */
  readonly schema: string;
  /** Take a server that may lose what it has acknowledged. Default false. */
  readonly mayLoseCommits?: boolean;
  /** How long a server that does not answer is waited for at the start. Default 60,000. */
  readonly startWithinMs?: number;
}

/** Oldest server that has all that is used. */
const OLDEST_VERSION = 130_000;
const START_WITHIN_MS = 60_000;
const START_RETRY_MS = 250;
/** Also the longest wait for a free connection. */
const CONNECT_TIMEOUT_MS = 5_000;
/** A transaction whose process stands still is ended after this, so that others get what it has locked. */
const IDLE_IN_TRANSACTION_MS = 5_000;
/** Longer than the above: what stands still holds nobody up for ever. */
const LOCK_TIMEOUT_MS = 8_000;
const STATEMENT_TIMEOUT_MS = 20_000;
/** A server that says nothing for this long is given up. */
const SILENCE_MS = 25_000;

/**
 * enable_seqscan: plans are kept for statements that are run again and again (making one takes longer than most of them), and
 * one that was made while a table was small must be good when it is large. Every statement has an index.
 * jit: compiling costs more than any of these statements.
 */
const SESSION = {
  client_encoding: "UTF8",
  bytea_output: "hex",
  plan_cache_mode: "auto",
  enable_seqscan: "off",
  jit: "off",
  default_transaction_isolation: "read\\ committed",
  idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
  lock_timeout: LOCK_TIMEOUT_MS,
  statement_timeout: STATEMENT_TIMEOUT_MS,
};

/** By the type's OID. Whole numbers of this project are below 2^53. */
const PARSERS: ReadonlyMap<number, (text: string) => unknown> = new Map<number, (text: string) => unknown>([
  [17, bytesOf], // bytea
  [20, Number], // int8
  [1700, Number], // numeric, the type of sums
]);

const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: "text") =>
    PARSERS.get(oid) ?? pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
};

/** `text` is "\\x" and hexadecimal digits. */
function bytesOf(text: string): Uint8Array {
  const { buffer, byteOffset, byteLength } = Buffer.from(text.slice(2), "hex");
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function config({ url, schema }: PostgresSettings): pg.PoolConfig {
  const given = new URL(url);
  const own = Object.entries({ ...SESSION, search_path: schema }).map(([name, value]) => `-c ${name}=${value}`);
  const options = [...given.searchParams.getAll("options"), ...own].join(" ");
  given.searchParams.delete("options");
  return {
    connectionString: String(given),
    options,
    application_name: `multinode ${schema}`,
    types,
    pipeline: true,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: SILENCE_MS,
  };
}

export function openPool(settings: PostgresSettings, max: number): pg.Pool {
  const pool = new pg.Pool({ ...config(settings), max, idleTimeoutMillis: 60_000 });
  // A connection that breaks while nobody uses it is replaced when it is needed; one in use fails what is asked of it. An
  // error that nobody listens to would end the process, and the pool listens only to connections that are not in use.
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  return pool;
}

/** Connects for what is done once at the start, which may take longer than what is done later. Waits for a server that starts. */
export async function connectAtStart(settings: PostgresSettings): Promise<pg.Client> {
  const until = performance.now() + (settings.startWithinMs ?? START_WITHIN_MS);
  for (;;) {
    const client = new pg.Client({ ...config(settings), query_timeout: 0 });
    client.on("error", () => {});
    try {
      await client.connect();
      await client.query("SET statement_timeout = 0");
      await check(client, settings);
      return client;
    } catch (error) {
      await client.end().catch(() => {});
      if (!isPassing(error) || performance.now() >= until) throw cannotStart(settings.url, error);
    }
    await sleep(START_RETRY_MS);
  }
}

interface ServerState {
  readonly version: number;
  readonly version_name: string;
  readonly encoding: string;
  readonly standby: boolean;
  readonly unsafe: readonly string[];
}

async function check(client: pg.Client, { mayLoseCommits = false }: PostgresSettings): Promise<void> {
  const { rows } = await client.query<ServerState>(`
    SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS version_name,
      current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby,
      ARRAY(SELECT name FROM pg_settings WHERE setting = 'off'
        AND name IN ('fsync', 'full_page_writes', 'synchronous_commit') ORDER BY name)::text[] AS unsafe`);
  const [state] = rows;
  if (state === undefined) throw new Error("it does not say what it is");
  if (state.version < OLDEST_VERSION) {
    throw new Error(`it is PostgreSQL ${state.version_name}, and at least 13 is needed`);
  }
  if (state.encoding !== "UTF8") throw new Error(`its encoding is ${state.encoding}, and UTF8 is needed`);
  if (state.standby) throw new Error("it is a standby, which takes no writes");
  if (state.unsafe.length > 0 && !mayLoseCommits) {
    throw new Error(
      `it may lose what it has acknowledged: ${state.unsafe.map((name) => `${name} is off`).join(", ")} ` +
        "(MULTINODE_DATABASE_MAY_LOSE_DATA=true takes it all the same)",
    );
  }
}

function cannotStart(url: string, error: unknown): Error {
  const shown = new URL(url);
  shown.password = "";
  shown.search = "";
  const reason = error instanceof Error ? error.message || error.name : String(error);
  return new Error(`the database ${String(shown)} cannot be used: ${reason}`, { cause: error });
}
