/** Worker of BullMQ: `bullmq_worker.js PORT QUEUE [CONCURRENCY]`. Says when it is ready. */
import { Worker } from "bullmq";
import { machineClockMs, pause } from "../harness/clock.js";

/** The fastest of 1, 10, 50, 100, 200 and 500 for 10,000 jobs. */
const DEFAULT_CONCURRENCY = 100;

const [port, queue = "", concurrency = DEFAULT_CONCURRENCY] = process.argv.slice(2);
const worker = new Worker(
  queue,
  async (job) => {
    if (job.name === "noop") return job.data as unknown;
    const { count, intervalMs } = job.data as { count: number; intervalMs: number };
    for (let i = 0; i < count; i++) {
      await pause(intervalMs);
      await job.updateProgress(machineClockMs());
    }
    return 0;
  },
  { connection: { host: "127.0.0.1", port: Number(port) }, concurrency: Number(concurrency) },
);
process.once("SIGTERM", () => process.exit(0));
await worker.waitUntilReady();
process.send?.("ready");
