/** What is left on disk and among the processes when a server has stopped. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { TestPostgres } from "../harness/postgres.js";
import type { HistoryEvent } from "./history.js";
import { isAlive, type ProcessName, processesWith, until } from "./processes.js";

/** Longest time from the end of a server to that of its workers. */
const GONE_BOUND_MS = 3_000;

export interface DataDirs {
  /** Of the invocation service. */
  readonly invocations: string;
  /** Of the process runtime. */
  readonly workers: string;
}

/** @param environmentText what every process of the server has in its environment, as "NAME=value" */
export async function remainsOf(
  dataDirs: DataDirs,
  workers: readonly ProcessName[],
  environmentText: string,
): Promise<HistoryEvent[]> {
  const leftOver = await leftOverProcesses([dataDirs.workers], workers, environmentText);
  return [...queuesOf(dataDirs.invocations), ...leftOver];
}

/** @param workersDirs the folders of process runtimes */
export async function leftOverProcesses(
  workersDirs: readonly string[],
  workers: readonly ProcessName[],
  environmentText: string,
): Promise<HistoryEvent[]> {
  await until(() => processesWith(environmentText).length === 0 && !workers.some(isAlive), GONE_BOUND_MS);
  const records = workersDirs.map((dir) => join(dir, "workers")).filter((dir) => existsSync(dir));
  const leftOver = [
    ...workers.filter(isAlive).map(({ pid }) => `worker process ${pid}`),
    ...processesWith(environmentText),
    ...records.flatMap((dir) => readdirSync(dir)).map((name) => `the record of a worker ${name}`),
  ];
  return leftOver.map((what) => ({ type: "leftOver", what }));
}

function queuesOf(dataDir: string): HistoryEvent[] {
  const db = new DatabaseSync(join(dataDir, "invocation.db"), { readOnly: true });
  try {
    return db.prepare("SELECT function_name, used, queued FROM queues").all().map(queueEvent);
  } finally {
    db.close();
  }
}

/** The same, where the invocation services store in PostgreSQL. */
export async function queuesIn(postgres: TestPostgres): Promise<HistoryEvent[]> {
  const sql = "SELECT function_name, used, queued FROM invocation.queues";
  return (await postgres.query<Record<string, unknown>>(sql)).map(queueEvent);
}

function queueEvent(row: Readonly<Record<string, unknown>>): HistoryEvent {
  const { function_name: functionName, used, queued } = row;
  return { type: "queue", functionName: String(functionName), used: Number(used), queued: Number(queued) };
}
