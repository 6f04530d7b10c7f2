/** (a) One call after another of a function that does nothing, on a warm worker. */
import { openBullmq } from "./harness/bullmq.js";
import { describeCpu, type Parts, withCpu } from "./harness/cpu.js";
import { startServer } from "./harness/server.js";
import { alternate, latency } from "./harness/statistics.js";
import type { Bench, Measurement, Outcome } from "./measurement.js";

export const warmCall: Measurement = { name: "call", title: "(a) warm callRemote of a no-op", measure };

async function measure(bench: Bench): Promise<Outcome> {
  await using server = await startServer(bench, { name: "call" });
  await server.deploy();
  await using always = await openBullmq(bench, "always");
  await using everysec = await openBullmq(bench, "everysec");
  const noop = server.function<(value: number) => number>("noop");

  const [warmUp, samples] = bench.quick ? [50, 200] : [300, 1_000];
  const contenders = {
    ours: { parts: server.parts, call: (value: number) => noop.callRemote(value) },
    always: { parts: always.parts, call: (value: number) => always.call(value) },
    everysec: { parts: everysec.parts, call: (value: number) => everysec.call(value) },
  };
  for (const { call } of Object.values(contenders)) await callOneByOne(warmUp, call);
  const round = ({ parts, call }: { parts: Parts; call: (value: number) => Promise<unknown> }) =>
    withCpu(parts, samples, async () => latency(await callOneByOne(samples, call)));
  const figures = await alternate({
    ours: () => round(contenders.ours),
    always: () => round(contenders.always),
    everysec: () => round(contenders.everysec),
  });

  const { ours } = figures;
  const row = (quantile: "p50" | "p99", name: "always" | "everysec") => ({
    what: `call ${quantile}`,
    value: ours[quantile],
    unit: "ms",
    yardstick: { name: `BullMQ ${name}`, value: figures[name][quantile] },
  });
  return {
    rows: [
      { ...row("p50", "always"), limits: { better: "lower", bound: 0.8, aim: 0.5 } },
      row("p99", "always"),
      row("p50", "everysec"),
      row("p99", "everysec"),
    ],
    notes: [
      `CPU of a call: ${describeCpu(ours)}`,
      `CPU of a call of BullMQ everysec: ${describeCpu(figures.everysec)}`,
    ],
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
