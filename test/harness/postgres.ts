/** A PostgreSQL server of its own for tests: a new cluster in a temporary folder, on a free port. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { freePort } from "./free_port.js";
import { killWithUs } from "./kill_with_us.js";

const START_TIMEOUT_MS = 30_000;
const POLL_MS = 50;
/** Debian keeps the programs of each version apart, and off the PATH. */
const DEBIAN_FOLDER = "/usr/lib/postgresql";

export interface TestPostgres {
  /** Address of the database "postgres". */
  readonly url: string;
  readonly pid: number;
  /** Makes a database, and answers its address. */
  createDatabase(name: string): Promise<string>;
  /** Runs SQL in the database "postgres", or in another. */
  query<R extends pg.QueryResultRow>(sql: string, url?: string): Promise<R[]>;
  /** Stops it: "immediate" is as a crash, after which it recovers from its log. */
  stop(mode?: "fast" | "immediate"): Promise<void>;
  /** Starts it again, on the same port. */
  start(): Promise<void>;
  remove(): Promise<void>;
}

export interface TestPostgresOptions {
  /** Settings of the server, such as {fsync: "off"}. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Default: none is asked for. */
  readonly password?: string;
}

/** Words are ordered as in English, which is not the order of their bytes. */
const LOCALE = ["--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"];

export async function startPostgres({ settings = {}, password }: TestPostgresOptions = {}): Promise<TestPostgres> {
  const folder = await mkdtemp(join(tmpdir(), "multinode-postgres-"));
  const data = join(folder, "data");
  const user = runAs();
  if (user !== undefined) await chown(folder, user.uid, user.gid);
  const env = { PATH: process.env["PATH"], TZ: "UTC" };
  const options = { stdio: "ignore", env, cwd: folder, ...user } as const;
  const passwordFile = join(folder, "password");
  await writeFile(passwordFile, password ?? "none", { mode: 0o644 });
  const auth = [`--auth=${password === undefined ? "trust" : "scram-sha-256"}`, `--pwfile=${passwordFile}`];
  execFileSync(postgresProgram("initdb"), ["-D", data, "-U", "multinode", "--no-sync", ...auth, ...LOCALE], options);
  const port = await freePort();
  const url = `postgresql://multinode${password === undefined ? "" : `:${password}`}@127.0.0.1:${port}/postgres`;
  const all = { listen_addresses: "127.0.0.1", unix_socket_directories: "", max_connections: "100", ...settings };
  const args = ["-D", data, "-p", String(port), ...Object.entries(all).map(([name, value]) => `--${name}=${value}`)];
  let server: ChildProcess | undefined;

  const stop = async (mode: "fast" | "immediate" = "fast") => {
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, "exit");
    server.kill(mode === "fast" ? "SIGINT" : "SIGQUIT");
    await ended;
  };
  const start = async () => {
    const child = spawn(postgresProgram("postgres"), args, options);
    server = child;
    killWithUs(child, () => void child.kill("SIGQUIT"));
    const until = performance.now() + START_TIMEOUT_MS;
    while (!(await answers(url))) {
      if (server.exitCode !== null) throw new Error(`postgres ended with ${server.exitCode}`);
      if (performance.now() > until) throw new Error(`postgres did not answer within ${START_TIMEOUT_MS} ms`);
      await sleep(POLL_MS);
    }
  };
  const query = async <R extends pg.QueryResultRow>(sql: string, of = url): Promise<R[]> => {
    const client = new pg.Client({ connectionString: of });
    await client.connect();
    try {
      return (await client.query<R>(sql)).rows;
    } finally {
      await client.end();
    }
  };
  await start();
  return {
    url,
    get pid() {
      return server?.pid ?? 0;
    },
    query,
    async createDatabase(name) {
      await query(`CREATE DATABASE ${name}`);
      return url.replace(/postgres$/, name);
    },
    stop,
    start,
    async remove() {
      await stop("immediate");
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** PostgreSQL refuses to run as root. */
function runAs(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const idOf = (flag: string) => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }));
  return { uid: idOf("-u"), gid: idOf("-g") };
}

/** Where one of PostgreSQL's programs is. */
export function postgresProgram(name: string): string {
  const versions = existsSync(DEBIAN_FOLDER) ? readdirSync(DEBIAN_FOLDER).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [
    ...versions.map((version) => join(DEBIAN_FOLDER, version, "bin")),
    ...(process.env["PATH"] ?? "").split(":"),
  ];
  const found = folders.map((folder) => join(folder, name)).find((file) => existsSync(file));
  if (found === undefined) throw new Error(`PostgreSQL's ${name} is not on this machine`);
  return found;
}

async function answers(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1_000 });
  client.on("error", () => {});
  try {
    await client.connect();
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}
