/** BullMQ as a user would tune it: one queue, a client here, a worker in a process of its own. */
import { randomUUID } from "node:crypto";
import { type Job, Queue, QueueEvents } from "bullmq";
import type { Bench } from "../measurement.js";
import { machineClockMs, within } from "./clock.js";
import type { Parts } from "./cpu.js";
import type { RunningProcess } from "./processes.js";
import { type AppendFsync, type Redis, startRedis } from "./redis.js";
import { program } from "./repository.js";

/** Events of a run that the stream keeps; at the default of 10,000 a burst of results could be cut. */
const KEPT_EVENTS = 100_000;
/** Bound of one burst of jobs. */
const RESULTS_BOUND_MS = 60_000;

export async function openBullmq(bench: Bench, appendFsync: AppendFsync): Promise<Bullmq> {
  const redis = await startRedis(bench, appendFsync);
  const name = `bench-${randomUUID()}`;
  const worker = bench.processes.node([program("bullmq_worker"), String(redis.port), name]);
  await worker.message();
  const connection = { host: "127.0.0.1", port: redis.port };
  const queue = new Queue(name, { connection, streams: { events: { maxLen: KEPT_EVENTS } } });
  // From the first event on: by default those before its first read are lost.
  const events = new QueueEvents(name, { connection, lastEventId: "0-0" });
  await Promise.all([queue.waitUntilReady(), events.waitUntilReady()]);
  return new Bullmq(redis, worker, queue, events);
}

export class Bullmq implements AsyncDisposable {
  readonly #redis: Redis;
  readonly #worker: RunningProcess;
  readonly #queue: Queue;
  readonly #events: QueueEvents;

  constructor(redis: Redis, worker: RunningProcess, queue: Queue, events: QueueEvents) {
    this.#redis = redis;
    this.#worker = worker;
    this.#queue = queue;
    this.#events = events;
  }

  get parts(): Parts {
    return () => ({ redis: [this.#redis.process.pid], worker: [this.#worker.pid] });
  }

  async call(value: number): Promise<unknown> {
    const job: Job = await this.#queue.add("noop", value);
    return await job.waitUntilFinished(this.#events);
  }

  /** Adds `count` jobs with one call and collects the result of each from the events. */
  async callAll(count: number): Promise<void> {
    const results = new Map<string, unknown>();
    const { promise, resolve } = Promise.withResolvers<void>();
    const onCompleted = ({ jobId, returnvalue }: { jobId: string; returnvalue: unknown }) => {
      results.set(jobId, returnvalue);
      if (results.size >= count) resolve();
    };
    this.#events.on("completed", onCompleted);
    await this.#queue.addBulk(Array.from({ length: count }, (_, value) => ({ name: "noop", data: value })));
    await within(RESULTS_BOUND_MS, `${count} jobs of BullMQ`, promise);
    this.#events.off("completed", onCompleted);
  }

  /** Latencies from `updateProgress` in the worker to the event here. */
  async progressLatencies(count: number, intervalMs: number): Promise<number[]> {
    const latenciesMs: number[] = [];
    const onProgress = ({ data }: { data: unknown }) => {
      if (typeof data === "number") latenciesMs.push(machineClockMs() - data);
    };
    this.#events.on("progress", onProgress);
    const job: Job = await this.#queue.add("ticks", { count, intervalMs });
    await job.waitUntilFinished(this.#events);
    this.#events.off("progress", onProgress);
    return latenciesMs;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#queue.close(), this.#events.close()]);
    await this.#worker.stop();
    await this.#redis.process.stop();
  }
}
