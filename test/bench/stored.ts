/** (f) Whether list, start and call stay as fast when a million invocations are stored as with a thousand. */
import { join } from "node:path";
import { fillWithFinished } from "./harness/fill.js";
import { dataDirOf, type Server, startServer } from "./harness/server.js";
import { alternate, median } from "./harness/statistics.js";
import type { Bench, Measurement, Outcome } from "./measurement.js";

const FUNCTION = "noop";
const FEW = 1_000;

export const stored: Measurement = {
  name: "stored",
  title: "(f) list and start, with much stored and with little",
  measure,
};

async function measure(bench: Bench): Promise<Outcome> {
  const many = bench.quick ? 100_000 : 1_000_000;
  await using few = await startFilled(bench, "few", FEW);
  await using full = await startFilled(bench, "many", many);

  const samples = bench.quick ? 60 : 200;
  for (const server of [few, full]) await operate(server, samples);
  const figures = await alternate({ few: () => operate(few, samples), full: () => operate(full, samples) });
  const operations = [
    ["list, first page", "list"],
    ["start", "start"],
    ["call", "call"],
  ] as const;
  return {
    rows: operations.map(([what, name]) => ({
      what: `${what} p50, ${many.toLocaleString("en")} stored`,
      value: figures.full[name],
      unit: "ms",
      yardstick: { name: `${FEW.toLocaleString("en")} stored`, value: figures.few[name] },
      limits: { better: "lower", bound: 1.4, aim: 1.1 },
    })),
    notes: [],
  };
}

/** A server that has run one invocation, is stopped, filled, and started again. */
async function startFilled(bench: Bench, name: string, count: number): Promise<Server> {
  const finishedId = await runOne(bench, name);
  fillWithFinished(join(dataDirOf(bench, name), "invocation.db"), finishedId, count);
  return await startServer(bench, { name });
}

async function runOne(bench: Bench, name: string): Promise<string> {
  await using server = await startServer(bench, { name });
  await server.deploy();
  const noop = server.function<(value: number) => number>(FUNCTION);
  const invocationId = await noop.start(0);
  for await (const { terminated } of noop.watch(invocationId, { until: "terminated" })) if (terminated) break;
  return invocationId;
}

async function operate(server: Server, samples: number): Promise<{ list: number; start: number; call: number }> {
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
