/** (c) From a yield in a function to its watcher. */
import { openBullmq } from "./harness/bullmq.js";
import { machineClockMs } from "./harness/clock.js";
import { startCluster } from "./harness/cluster.js";
import { startServer } from "./harness/server.js";
import { alternate, latency } from "./harness/statistics.js";
import type { System } from "./harness/system.js";
import type { Bench, Limits, Measurement, Outcome } from "./measurement.js";

/** Between two yields, so that none is merged with the next. */
const INTERVAL_MS = 10;

type Ticks = (count: number, intervalMs: number) => AsyncGenerator<number, number>;

export const yieldLatency: Measurement = {
  name: "yield",
  title: "(c) yield to watcher",
  measure: async (bench) => {
    await using server = await startServer(bench, { name: "yield" });
    return await measure(bench, server, { better: "lower", bound: 1.4, aim: 1 });
  },
};

/** pg-boss shows no progress. */
export const clusterYield: Measurement = {
  name: "yield",
  title: "(c) yield to watcher, on PostgreSQL and NATS",
  measure: async (bench) => {
    await using cluster = await startCluster(bench, { name: "yield" });
    return await measure(bench, cluster);
  },
};

async function measure(bench: Bench, system: System, limits?: Limits): Promise<Outcome> {
  await system.deploy();
  await using everysec = await openBullmq(bench, "everysec");
  await using always = await openBullmq(bench, "always");
  const ticks = system.function<Ticks>("ticks");

  const count = bench.quick ? 100 : 300;
  const contenders = {
    ours: () => watchedLatencies(ticks, count),
    everysec: () => everysec.progressLatencies(count, INTERVAL_MS),
    always: () => always.progressLatencies(count, INTERVAL_MS),
  };
  for (const run of Object.values(contenders)) await run();
  const round = async (run: () => Promise<number[]>) => {
    const latenciesMs = await run();
    return { ...latency(latenciesMs), received: latenciesMs.length };
  };
  const figures = await alternate({
    ours: () => round(contenders.ours),
    everysec: () => round(contenders.everysec),
    always: () => round(contenders.always),
  });

  const { ours } = figures;
  const row = (quantile: "p50" | "p99", name: "always" | "everysec") => ({
    what: `yield ${quantile}`,
    value: ours[quantile],
    unit: "ms",
    yardstick: { name: `BullMQ ${name}`, value: figures[name][quantile] },
  });
  return {
    rows: [
      { ...row("p50", "everysec"), ...(limits === undefined ? {} : { limits }) },
      row("p99", "everysec"),
      row("p50", "always"),
      row("p99", "always"),
    ],
    notes: [`received ${ours.received} of ${count} yields; BullMQ ${figures.everysec.received}`],
  };
}

interface Watchable {
  start(count: number, intervalMs: number): Promise<string>;
  watch(invocationId: string): AsyncIterable<{ readonly status: string; readonly result: number | undefined }>;
}

async function watchedLatencies(ticks: Watchable, count: number): Promise<number[]> {
  const latenciesMs: number[] = [];
  let newest = 0;
  for await (const { status, result } of ticks.watch(await ticks.start(count, INTERVAL_MS))) {
    const isYield = status === "RUNNING" && result !== undefined && result !== newest;
    if (!isYield) continue;
    latenciesMs.push(machineClockMs() - result);
    newest = result;
  }
  return latenciesMs;
}
