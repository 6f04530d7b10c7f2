/** (b) Ten thousand calls of a function that does nothing, on a warm worker, with all results collected. */
import { openBullmq } from "./harness/bullmq.js";
import { startCluster } from "./harness/cluster.js";
import { describeCpu, type Parts, withCpu } from "./harness/cpu.js";
import { openPgBoss } from "./harness/pgboss.js";
import { startServer } from "./harness/server.js";
import { alternate } from "./harness/statistics.js";
import type { System } from "./harness/system.js";
import type { Bench, Limits, Measurement, Outcome } from "./measurement.js";

export const map: Measurement = {
  name: "map",
  title: "(b) map of 10,000 no-ops, results collected",
  measure: async (bench) => {
    await using server = await startServer(bench, { name: "map" });
    return await measure(bench, server, [], { "BullMQ everysec": { better: "higher", bound: 4, aim: 6 } });
  },
};

export const clusterMap: Measurement = {
  name: "map",
  title: "(b) map of 10,000 no-ops, results collected, on PostgreSQL and NATS",
  measure: async (bench) => {
    await using cluster = await startCluster(bench, { name: "map" });
    await using boss = await openPgBoss(bench);
    const yardstick = {
      name: "pg-boss",
      parts: boss.parts,
      callAll: (count: number) => boss.callAll(count),
      clear: () => boss.clear(),
    };
    return await measure(bench, cluster, [yardstick], { "pg-boss": { better: "higher", bound: 4, aim: 7 } });
  },
};

/** Until the compilers of all processes have seen enough: what is measured is a system that has run for some seconds. */
const WARM_UPS = 6;

interface Contender {
  readonly name: string;
  readonly parts: Parts;
  readonly callAll: (count: number) => Promise<void>;
  /** Takes away what a round left behind, outside of what is measured. */
  readonly clear?: () => Promise<void>;
}

async function measure(
  bench: Bench,
  system: System,
  more: readonly Contender[],
  limits: Readonly<Record<string, Limits>>,
): Promise<Outcome> {
  await system.deploy();
  await using always = await openBullmq(bench, "always");
  await using everysec = await openBullmq(bench, "everysec");
  const noop = system.function<(value: number) => number>("noop");

  const count = bench.quick ? 3_000 : 10_000;
  const ours: Contender = { name: "ours", parts: system.parts, callAll: () => mapAll(noop, count) };
  const yardsticks: readonly Contender[] = [
    ...more,
    { name: "BullMQ everysec", parts: everysec.parts, callAll: () => everysec.callAll(count) },
    { name: "BullMQ always", parts: always.parts, callAll: () => always.callAll(count) },
  ];
  const contenders = [ours, ...yardsticks];
  for (let i = 0; i < (bench.quick ? 1 : WARM_UPS); i++) {
    for (const { callAll, clear } of contenders) {
      await clear?.();
      await callAll(count);
    }
  }
  const round = async ({ parts, callAll, clear }: Contender) => {
    await clear?.();
    return await withCpu(parts, count, async () => {
      const startedAt = performance.now();
      await callAll(count);
      const durationMs = performance.now() - startedAt;
      return { durationMs, rate: (count * 1_000) / durationMs };
    });
  };
  const figures = await alternate(
    Object.fromEntries(contenders.map((contender) => [contender.name, () => round(contender)])),
  );

  const of = (name: string) => figures[name] ?? { durationMs: Number.NaN, rate: Number.NaN };
  const row = (name: string, figure: "rate" | "durationMs") => ({
    what: figure === "rate" ? "rate" : `${count} calls`,
    value: of("ours")[figure],
    unit: figure === "rate" ? "/s" : "ms",
    yardstick: { name, value: of(name)[figure] },
  });
  return {
    rows: [
      ...yardsticks.map(({ name }) => ({
        ...row(name, "rate"),
        ...(limits[name] === undefined ? {} : { limits: limits[name] }),
      })),
      ...yardsticks.map(({ name }) => row(name, "durationMs")),
    ],
    notes: contenders.map(({ name }) => `CPU of a call, ${name}: ${describeCpu(of(name))}`),
  };
}

interface Mappable {
  map(inputs: Iterable<number>): AsyncIterable<number>;
}

async function mapAll(noop: Mappable, count: number): Promise<void> {
  const inputs = Array.from({ length: count }, (_, index) => index);
  let collected = 0;
  for await (const result of noop.map(inputs)) {
    if (result !== collected) throw new Error(`result ${collected} was ${result}`);
    collected += 1;
  }
  if (collected !== count) throw new Error(`${collected} results came instead of ${count}`);
}
