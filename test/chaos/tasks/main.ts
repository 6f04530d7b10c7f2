/** The functions of the chaos test. Each writes down in a journal when it begins and ends. `expectations.ts` says what each may do. */
import { spawn } from "node:child_process";
import { appendFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { getContext, Multinode } from "multinode";

export interface Order {
  /** What the result is computed from. */
  readonly n: number;
  /** How long it works. */
  readonly workMs: number;
  /** File that tells what really ran. */
  readonly journal: string;
}

export const mn = new Multinode();

const MANY = 50;

export const steady = mn.function({ maxRetries: MANY, maxConcurrency: 4 }, (order: Order) => work(order));

/** One lost worker fails it. */
export const fragile = mn.function({ maxConcurrency: 4 }, (order: Order) => work(order));

export const hopeless = mn.function({ maxRetries: 2, maxConcurrency: 4 }, async (order: Order) => {
  await work(order);
  throw new TypeError("hopeless");
});

/** Fails its first two attempts. */
export const flaky = mn.function({ maxRetries: 3, retryDelay: "50ms", maxConcurrency: 4 }, async (order: Order) => {
  const result = await work(order);
  const { attemptNumber } = getContext();
  if (attemptNumber <= 2) throw new RangeError(`attempt ${attemptNumber} is too early`);
  return result;
});

export const nested = mn.function({ maxRetries: MANY, maxConcurrency: 3 }, async (order: Order) => {
  await work(order);
  const children = [1, 2].map((step) => shared.callRemote({ ...order, n: order.n + step }));
  const [one, two] = await Promise.all(children);
  return Number(one) + Number(two);
});

export const counting = mn.function({ maxRetries: MANY, maxConcurrency: 4 }, async function* (order: Order) {
  write(order, "begin");
  for (let i = 1; i <= 5; i++) {
    await delay(order.workMs / 5);
    yield order.n * 10 + i;
  }
  write(order, "end");
});

/** On workers that are used again, several at once. */
export const shared = mn.function(
  { maxRetries: MANY, maxConcurrency: 12, workerConcurrency: 4, maxInvocationsPerWorker: 20, idleTimeout: "1s" },
  (order: Order) => work(order),
);

/** Leaves a process behind, which must go with its worker. */
export const littering = mn.function({ maxRetries: MANY, maxConcurrency: 2 }, async (order: Order) => {
  spawn("sleep", ["600"], { stdio: "ignore" }).unref();
  return await work(order);
});

/** Goes on until it is cancelled. */
export const endless = mn.function({ maxRetries: MANY, maxConcurrency: 4, gracePeriod: "1s" }, async (order: Order) => {
  await work(order);
  await delay(3_600_000, undefined, { signal: getContext().signal });
});

/** Goes on until its timeout. */
export const overdue = mn.function(
  { maxRetries: MANY, maxConcurrency: 4, timeout: "600ms", gracePeriod: "500ms" },
  async (order: Order) => {
    await work(order);
    await delay(3_600_000);
  },
);

async function work(order: Order): Promise<number> {
  write(order, "begin");
  await delay(order.workMs);
  write(order, "end");
  return order.n * 10;
}

function write({ journal }: Order, event: "begin" | "end"): void {
  const { invocationId, executionId, attemptNumber, functionName } = getContext();
  const worker = `${process.pid}@${performance.timeOrigin}`;
  // One write to the end of a file: lines of many processes stand whole, in the order in which they happened.
  appendFileSync(
    journal,
    `${JSON.stringify({ event, invocationId, executionId, attemptNumber, functionName, worker })}\n`,
  );
}
