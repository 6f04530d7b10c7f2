// The functions that the benchmarks call.
import { Multinode } from "multinode";

export const mn = new Multinode();

/** A warm worker that runs everything, as a tuned worker of the rivals does. */
const ONE_WORKER = {
  memory: "1 GiB",
  maxInvocationsPerWorker: Number.POSITIVE_INFINITY,
  workerConcurrency: 1_000,
  maxConcurrency: 1_000,
  minWorkers: 1,
};

export const noop = mn.function(ONE_WORKER, (value) => value);

/** Yields the time of the yield, again and again. */
export const ticks = mn.function({ ...ONE_WORKER, workerConcurrency: 10 }, async function* (count, intervalMs) {
  for (let i = 0; i < count; i++) {
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
    yield machineClockMs();
  }
  return 0;
});

/** A fresh worker for each execution: answers when its first line ran. */
export const fresh = mn.function(() => machineClockMs());

/** Keeps the only slot of its function, so that all others wait. */
export const blocked = mn.function({ maxConcurrency: 1 }, () => new Promise(() => setInterval(() => {}, 60_000)));

function machineClockMs() {
  return Number(process.hrtime.bigint()) / 1e6;
}
