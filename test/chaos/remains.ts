/** What is left on disk and among the processes when a server has stopped. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
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
  await until(() => processesWith(environmentText).length === 0 && !workers.some(isAlive), GONE_BOUND_MS);
  const records = join(dataDirs.workers, "workers");
  const leftOver = [
    ...workers.filter(isAlive).map(({ pid }) => `worker process ${pid}`),
    ...processesWith(environmentText),
    ...(existsSync(records) ? readdirSync(records) : []).map((name) => `the record of a worker ${name}`),
  ];
  return [...queuesOf(dataDirs.invocations), ...leftOver.map((what) => ({ type: "leftOver", what }) as const)];
}

function queuesOf(dataDir: string): HistoryEvent[] {
  const db = new DatabaseSync(join(dataDir, "invocation.db"), { readOnly: true });
  try {
    const rows = db.prepare("SELECT function_name, used, queued FROM queues").all();
    return rows.map((row) => ({
      type: "queue",
      functionName: String(row["function_name"]),
      used: Number(row["used"]),
      queued: Number(row["queued"]),
    }));
  } finally {
    db.close();
  }
}
