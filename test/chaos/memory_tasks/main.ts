/** The functions of the memory test. */
import { setTimeout as delay } from "node:timers/promises";
import { Multinode } from "multinode";

export const mn = new Multinode();

export const echo = mn.function(
  {
    maxConcurrency: 100,
    workerConcurrency: 100,
    maxInvocationsPerWorker: Number.POSITIVE_INFINITY,
    minWorkers: 1,
    memory: "1 GiB",
  },
  (text: string) => text,
);

/** Yields texts until it is cancelled. */
export const flood = mn.function({ memory: "1 GiB" }, async function* (length: number, intervalMs: number) {
  for (let i = 0; ; i++) {
    yield String(i).padEnd(length, "x");
    await delay(intervalMs);
  }
});
