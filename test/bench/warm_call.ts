/** (a) One call after another of a function that does nothing, on a warm worker. */
import { openBullmq } from "./harness/bullmq.js";
import { startCluster } from "./harness/cluster.js";
import { describeCpu, type Parts, withCpu } from "./harness/cpu.js";
import { openPgBoss } from "./harness/pgboss.js";
import { startServer } from "./harness/server.js";
import { alternate, latency } from "./harness/statistics.js";
import type { System } from "./harness/system.js";
import type { Bench, Limits, Measurement, Outcome } from "./measurement.js";

export const warmCall: Measurement = {
  name: "call",
  title: "(a) warm callRemote of a no-op",
  measure: async (bench) => {
    await using server = await startServer(bench, { name: "call" });
    return await measure(bench, server, [], { better: "lower", bound: 0.8, aim: 0.5 });
  },
};

export const clusterCall: Measurement = {
  name: "call",
  title: "(a) warm callRemote of a no-op, on PostgreSQL and NATS",
  measure: async (bench) => {
    await using cluster = await startCluster(bench, { name: "call" });
    await using boss = await openPgBoss(bench);
    return await measure(bench, cluster, [{ name: "pg-boss", ...contender(boss) }]);
  },
};

/** Until the compilers of all processes have seen enough: what is measured is a system that has run for some seconds. */
const WARM_UPS = 3_000;

interface Contender {
  readonly parts: Parts;
  readonly call: (value: number) => Promise<unknown>;
}

interface Yardstick extends Contender {
  readonly name: string;
}

function contender(rival: Contender): Contender {
  return { parts: rival.parts, call: (value) => rival.call(value) };
}

async function measure(bench: Bench, system: System, more: readonly Yardstick[], limits?: Limits): Promise<Outcome> {
  await system.deploy();
  await using always = await openBullmq(bench, "always");
  await using everysec = await openBullmq(bench, "everysec");
  const noop = system.function<(value: number) => number>("noop");
  const yardsticks: readonly Yardstick[] = [
    { name: "BullMQ always", ...contender(always) },
    { name: "BullMQ everysec", ...contender(everysec) },
    ...more,
  ];
  const ours = { name: "ours", parts: system.parts, call: (value: number) => noop.callRemote(value) };

  const [warmUp, samples] = bench.quick ? [50, 200] : [WARM_UPS, 1_000];
  const contenders = [ours, ...yardsticks];
  for (const { call } of contenders) await callOneByOne(warmUp, call);
  const round = ({ parts, call }: Contender) =>
    withCpu(parts, samples, async () => latency(await callOneByOne(samples, call)));
  const figures = await alternate(
    Object.fromEntries(contenders.map((contender) => [contender.name, () => round(contender)])),
  );

  const of = (name: string) => figures[name] ?? { p50: Number.NaN, p99: Number.NaN };
  return {
    rows: yardsticks.flatMap(({ name }, index) =>
      (["p50", "p99"] as const).map((quantile) => ({
        what: `call ${quantile}`,
        value: of("ours")[quantile],
        unit: "ms",
        yardstick: { name, value: of(name)[quantile] },
        ...(index === 0 && quantile === "p50" && limits !== undefined ? { limits } : {}),
      })),
    ),
    notes: ["ours", "BullMQ everysec"].map((name) => `CPU of a call, ${name}: ${describeCpu(of(name))}`),
  };
}

async function callOneByOne(count: number, call: (value: number) => Promise<unknown>): Promise<number[]> {
  const samplesMs: number[] = [];
  for (let i = 0; i < count; i++) {
    const startedAt = performance.now();
    await call(i);
    samplesMs.push(performance.now() - startedAt);
  }
  return samplesMs;
}
