/** (b) Ten thousand calls of a function that does nothing, on a warm worker, with all results collected. */
import { openBullmq } from "./harness/bullmq.js";
import { describeCpu, type Parts, withCpu } from "./harness/cpu.js";
import { startServer } from "./harness/server.js";
import { alternate } from "./harness/statistics.js";
import type { Bench, Measurement, Outcome } from "./measurement.js";

export const map: Measurement = { name: "map", title: "(b) map of 10,000 no-ops, results collected", measure };

/** Until the compilers of all processes have seen enough: what is measured is a system that has run for some seconds. */
const WARM_UPS = 6;

async function measure(bench: Bench): Promise<Outcome> {
  await using server = await startServer(bench, { name: "map" });
  await server.deploy();
  await using always = await openBullmq(bench, "always");
  await using everysec = await openBullmq(bench, "everysec");
  const noop = server.function<(value: number) => number>("noop");

  const count = bench.quick ? 3_000 : 10_000;
  const contenders = {
    ours: { parts: server.parts, callAll: () => mapAll(noop, count) },
    always: { parts: always.parts, callAll: () => always.callAll(count) },
    everysec: { parts: everysec.parts, callAll: () => everysec.callAll(count) },
  };
  for (let i = 0; i < (bench.quick ? 1 : WARM_UPS); i++) {
    for (const { callAll } of Object.values(contenders)) await callAll();
  }
  const round = ({ parts, callAll }: { parts: Parts; callAll: () => Promise<void> }) =>
    withCpu(parts, count, async () => {
      const startedAt = performance.now();
      await callAll();
      const durationMs = performance.now() - startedAt;
      return { durationMs, rate: (count * 1_000) / durationMs };
    });
  const figures = await alternate({
    ours: () => round(contenders.ours),
    always: () => round(contenders.always),
    everysec: () => round(contenders.everysec),
  });

  const { ours } = figures;
  const row = (name: "always" | "everysec", figure: "rate" | "durationMs") => ({
    what: figure === "rate" ? "rate" : `${count} calls`,
    value: ours[figure],
    unit: figure === "rate" ? "/s" : "ms",
    yardstick: { name: `BullMQ ${name}`, value: figures[name][figure] },
  });
  return {
    rows: [
      { ...row("everysec", "rate"), limits: { better: "higher", bound: 4, aim: 6 } },
      row("always", "rate"),
      row("everysec", "durationMs"),
      row("always", "durationMs"),
    ],
    notes: [
      `CPU of a call: ${describeCpu(ours)}`,
      `CPU of a call of BullMQ everysec: ${describeCpu(figures.everysec)}`,
    ],
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
