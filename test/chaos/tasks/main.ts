/**
 * The functions of the chaos tests. Each writes down in a journal when it begins and ends, or tells a recorder, and goes on
 * only when that is recorded. `expectations.ts` says what each may do.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { appendFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { getContext, Multinode } from "multinode";

export interface Order {
  /** What the result is computed from. */
  readonly n: number;
  /** How long it works. */
  readonly workMs: number;
  /** File that tells what really ran, or, as "tcp://host:port", the recorder that writes it. */
  readonly journal: string;
}

export const mn = new Multinode();

const MANY = 50;
/** A container that is started for such a function begins with it: some do so here, and some do not. */
const WHOLE_CPU = { cpu: 1 };
/** Unlike that of any other process, also of one in another container. */
const WORKER = randomUUID();

export const steady = mn.function({ maxRetries: MANY, maxConcurrency: 4 }, (order: Order) => work(order));

/** One lost worker fails it. */
export const fragile = mn.function({ ...WHOLE_CPU, maxConcurrency: 4 }, (order: Order) => work(order));

export const hopeless = mn.function({ maxRetries: 2, maxConcurrency: 4 }, async (order: Order) => {
  await work(order);
  throw new TypeError("hopeless");
});

/** Fails its first two attempts. */
export const flaky = mn.function(
  { ...WHOLE_CPU, maxRetries: 3, retryDelay: "50ms", maxConcurrency: 4 },
  async (order: Order) => {
    const result = await work(order);
    const { attemptNumber } = getContext();
    if (attemptNumber <= 2) throw new RangeError(`attempt ${attemptNumber} is too early`);
    return result;
  },
);

export const nested = mn.function({ maxRetries: MANY, maxConcurrency: 3 }, async (order: Order) => {
  await work(order);
  const children = [1, 2].map((step) => shared.callRemote({ ...order, n: order.n + step }));
  const [one, two] = await Promise.all(children);
  return Number(one) + Number(two);
});

export const counting = mn.function(
  { ...WHOLE_CPU, maxRetries: MANY, maxConcurrency: 4 },
  async function* (order: Order) {
    await write(order, "begin");
    for (let i = 1; i <= 5; i++) {
      await delay(order.workMs / 5);
      yield order.n * 10 + i;
    }
    await write(order, "end");
  },
);

/** On workers that are used again, several at once. */
export const shared = mn.function(
  { maxRetries: MANY, maxConcurrency: 12, workerConcurrency: 4, maxInvocationsPerWorker: 20, idleTimeout: "1s" },
  (order: Order) => work(order),
);

/** Leaves a process behind, which must go with its worker. */
export const littering = mn.function({ ...WHOLE_CPU, maxRetries: MANY, maxConcurrency: 2 }, async (order: Order) => {
  spawn("sleep", ["600"], { stdio: "ignore" }).unref();
  return await work(order);
});

/** Goes on until it is cancelled. */
export const endless = mn.function(
  { ...WHOLE_CPU, maxRetries: MANY, maxConcurrency: 4, gracePeriod: "1s" },
  async (order: Order) => {
    await work(order);
    await delay(3_600_000, undefined, { signal: getContext().signal });
  },
);

/** Goes on until its timeout. */
export const overdue = mn.function(
  { maxRetries: MANY, maxConcurrency: 4, timeout: "600ms", gracePeriod: "500ms" },
  async (order: Order) => {
    await work(order);
    await delay(3_600_000);
  },
);

/** For the test of limits. */
export const limited = mn.function({ ...WHOLE_CPU, maxRetries: 3, maxConcurrency: 5 }, (order: Order) => work(order));

/** For the test of schedulers that die: nothing may end its only attempt. */
export const lasting = mn.function({ ...WHOLE_CPU, maxRetries: 0, maxConcurrency: 100 }, (order: Order) => work(order));

async function work(order: Order): Promise<number> {
  await write(order, "begin");
  await delay(order.workMs);
  await write(order, "end");
  return order.n * 10;
}

/** Lines to the recorder. Each stays open as long as the worker lives, whose end so shows. */
const lines = new Map<string, Socket>();

async function write({ journal }: Order, event: "begin" | "end"): Promise<void> {
  const { invocationId, executionId, attemptNumber, functionName } = getContext();
  const entry = { event, invocationId, executionId, attemptNumber, functionName, worker: WORKER };
  const text = `${JSON.stringify(entry)}\n`;
  if (!journal.startsWith("tcp:")) {
    // One write to the end of a file: lines of many processes stand whole, in the order in which they happened.
    appendFileSync(journal, text);
    return;
  }
  const line = lines.get(executionId) ?? openLine(journal);
  lines.set(executionId, line);
  line.write(text);
  await once(line, "data");
  // A worker that is used again may run something else now.
  if (event === "end" && functionName === "shared") line.destroy();
}

function openLine(address: string): Socket {
  const { hostname, port } = new URL(address);
  return connect(Number(port), hostname);
}
