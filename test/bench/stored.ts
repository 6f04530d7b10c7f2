/**
 * (f) Whether list, start and call stay as fast when a million invocations are stored as with a thousand, and when those that are
 * stored have large results.
 */
import { join } from "node:path";
import { fillWithFinished } from "./harness/fill.js";
import { dataDirOf, type Server, startServer } from "./harness/server.js";
import { alternate, median } from "./harness/statistics.js";
import type { Bench, Measurement, Outcome } from "./measurement.js";

const FUNCTION = "noop";
const FEW = 1_000;
/** With results of 200 kB each: 400 MB, many times what the server keeps of the database in memory. */
const LARGE = 2_000;
const LARGE_BYTES = 200_000;

type Times = Readonly<Record<"list" | "start" | "call", number>>;

export const stored: Measurement = {
  name: "stored",
  title: "(f) list and start, with much stored and with little",
  measure,
};

async function measure(bench: Bench): Promise<Outcome> {
  const many = bench.quick ? 100_000 : 1_000_000;
  await using few = await startFilled(bench, "few", FEW);
  await using full = await startFilled(bench, "many", many);
  await using large = await startFilled(bench, "large", LARGE, LARGE_BYTES);

  const samples = bench.quick ? 60 : 200;
  for (const server of [few, full, large]) await operate(server, samples);
  const figures = await alternate({
    few: () => operate(few, samples),
    full: () => operate(full, samples),
    large: () => operate(large, samples),
  });
  const operations = [
    ["list, first page", "list"],
    ["start", "start"],
    ["call", "call"],
  ] as const;
  const rowsOf = (stored: string, times: Times) =>
    operations.map(([what, name]) => ({
      what: `${what} p50, ${stored} stored`,
      value: times[name],
      unit: "ms",
      yardstick: { name: `${FEW.toLocaleString("en")} stored`, value: figures.few[name] },
      limits: { better: "lower", bound: 1.4, aim: 1.1 } as const,
    }));
  return {
    rows: [
      ...rowsOf(many.toLocaleString("en"), figures.full),
      ...rowsOf(`${LARGE.toLocaleString("en")} of 200 kB`, figures.large),
    ],
    notes: [],
  };
}

/** A server that has run one invocation, is stopped, filled, and started again. */
async function startFilled(bench: Bench, name: string, count: number, resultBytes = 1): Promise<Server> {
  const finishedId = await runOne(bench, name, resultBytes);
  fillWithFinished(join(dataDirOf(bench, name), "invocation.db"), finishedId, count);
  return await startServer(bench, { name });
}

async function runOne(bench: Bench, name: string, resultBytes: number): Promise<string> {
  await using server = await startServer(bench, { name });
  await server.deploy();
  const noop = server.function<(value: string) => string>(FUNCTION);
  const invocationId = await noop.start("x".repeat(resultBytes));
  for await (const { terminated } of noop.watch(invocationId, { until: "terminated" })) if (terminated) break;
  return invocationId;
}

async function operate(server: Server, samples: number): Promise<Times> {
  const noop = server.function<(value: number) => number>(FUNCTION);
  return {
    list: await medianMs(samples, async () => (await noop.list()).invocationIds.length === 50),
    start: await medianMs(samples, async () => (await noop.start(1)) !== ""),
    call: await medianMs(samples, async () => (await noop.callRemote(1)) === 1),
  };
}

async function medianMs(samples: number, work: () => Promise<boolean>): Promise<number> {
  const samplesMs: number[] = [];
  for (let i = 0; i < samples; i++) {
    const startedAt = performance.now();
    if (!(await work())) throw new Error("an operation answered something else than expected");
    samplesMs.push(performance.now() - startedAt);
  }
  return median(samplesMs);
}
