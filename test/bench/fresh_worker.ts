/** (d) From `start` to the first line of the function in a fresh process, with a spare worker at hand and without. */
import { machineClockMs, pause } from "./harness/clock.js";
import { program } from "./harness/repository.js";
import { type Server, startServer } from "./harness/server.js";
import { alternate, latency } from "./harness/statistics.js";
import type { Bench, Measurement, Outcome } from "./measurement.js";

/** In which the spare that was used is replaced, and the process of the sample before is gone. */
const REST_MS = 500;

export const freshWorker: Measurement = { name: "fresh", title: "(d) start of a fresh process", measure };

async function measure(bench: Bench): Promise<Outcome> {
  await using withSpares = await startServer(bench, { name: "spares" });
  await using withoutSpares = await startServer(bench, { name: "no-spares", spareWorkers: 0 });
  for (const server of [withSpares, withoutSpares]) {
    await server.deploy();
    await firstLineLatencies(server, 2);
  }
  const samples = bench.quick ? 5 : 15;
  const figures = await alternate({
    spare: async () => latency(await firstLineLatencies(withSpares, samples)),
    none: async () => latency(await firstLineLatencies(withoutSpares, samples)),
    bare: async () => latency(await bareLatencies(bench, samples)),
  });

  const { spare, none, bare } = figures;
  const noSpare = { name: "without a spare", value: none.p50 };
  const bareProcess = { name: "bare node process", value: bare.p50 };
  return {
    rows: [
      {
        what: "with a spare p50",
        value: spare.p50,
        unit: "ms",
        yardstick: noSpare,
        limits: { better: "lower", bound: 0.2, aim: 0.1 },
      },
      { what: "with a spare p50", value: spare.p50, unit: "ms", yardstick: bareProcess },
      { what: "without a spare p50", value: none.p50, unit: "ms", yardstick: bareProcess },
    ],
    notes: [],
  };
}

async function firstLineLatencies(server: Server, count: number): Promise<number[]> {
  const fresh = server.function<() => number>("fresh");
  const latenciesMs: number[] = [];
  for (let i = 0; i < count; i++) {
    await pause(REST_MS);
    const startedAt = machineClockMs();
    latenciesMs.push((await fresh.callRemote()) - startedAt);
  }
  return latenciesMs;
}

async function bareLatencies({ processes }: Bench, count: number): Promise<number[]> {
  const latenciesMs: number[] = [];
  for (let i = 0; i < count; i++) {
    const startedAt = machineClockMs();
    const child = processes.node([program("first_line")]);
    latenciesMs.push((await child.message<number>()) - startedAt);
    await child.exited;
  }
  return latenciesMs;
}
