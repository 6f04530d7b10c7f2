/** Worker of pg-boss: `pgboss_worker.js URL QUEUE [BATCH] [CONCURRENCY]`. Says when it is ready. */
import { PgBoss } from "pg-boss";

/**
 * The fastest for 10,000 jobs of 50, 200, 500, 1,000 and 2,000 at a time, and of 1, 2, 4 and 8 at once: 17,000 /s. From 500 at
 * a time on all take 11,000 to 17,000, which is as much as runs differ by.
 */
const DEFAULT_BATCH = 1_000;
const DEFAULT_CONCURRENCY = 4;
/** The shortest that it takes; NOTIFY wakes it before. */
const POLLING_S = 0.5;

const [connectionString = "", queue = "", batch = DEFAULT_BATCH, concurrency = DEFAULT_CONCURRENCY] =
  process.argv.slice(2);
const boss = new PgBoss({ connectionString, useListenNotify: true, supervise: false, schedule: false });
boss.on("error", (error) => console.error(error));
await boss.start();
const options = {
  batchSize: Number(batch),
  localConcurrency: Number(concurrency),
  pollingIntervalSeconds: POLLING_S,
  notifyPollingIntervalSeconds: POLLING_S,
  burstWhenBatchFull: true,
  perJobResults: true,
} as const;
await boss.work(queue, options, async (jobs) =>
  jobs.map(({ id, data }) => ({ id, status: "completed" as const, output: data as object })),
);
process.once("SIGTERM", () => process.exit(0));
process.send?.("ready");
