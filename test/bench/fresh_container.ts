/** (e) (f) From `start` to the first line of the function in a fresh container, with a spare at hand and without. */
import { startEngine } from "../harness/docker.js";
import { machineClockMs } from "./harness/clock.js";
import { type Cluster, startCluster } from "./harness/cluster.js";
import { bareStarts, settled } from "./harness/engine.js";
import { FRESH_TASKS } from "./harness/repository.js";
import { alternate, latency } from "./harness/statistics.js";
import type { Bench, Measurement, Outcome } from "./measurement.js";

export const freshContainer: Measurement = {
  name: "fresh",
  title: "(e) (f) start of a function in a fresh container",
  measure,
};

const SPARES = 2;
const WARM_UPS = 3;

async function measure(bench: Bench): Promise<Outcome> {
  await using cleanup = new AsyncDisposableStack();
  const engine = await startEngine();
  cleanup.defer(() => engine.stop());
  await engine.buildWorkerImage();
  const open = async (name: string, spareWorkers: number) =>
    cleanup.use(await startCluster(bench, { name, containers: { engine, spareWorkers } }));
  const withSpares = await open("spares", SPARES);
  const withoutSpares = await open("none", 0);

  /** Latencies of calls one by one, each on a machine that has come to rest. */
  const latencies = async (cluster: Cluster, spareWorkers: number, count: number) => {
    const fresh = cluster.function<() => number>("fresh");
    const latenciesMs: number[] = [];
    for (let i = 0; i < count; i++) {
      await settled(engine, cluster, spareWorkers);
      const startedAt = machineClockMs();
      latenciesMs.push((await fresh.callRemote()) - startedAt);
    }
    await settled(engine, cluster, spareWorkers);
    return latenciesMs;
  };
  const bareLatencies = async (count: number) => {
    const latenciesMs: number[] = [];
    for (let i = 0; i < count; i++) latenciesMs.push(...(await bareStarts(engine, 1)));
    return latenciesMs;
  };
  for (const cluster of [withSpares, withoutSpares]) await cluster.deploy(FRESH_TASKS);
  await latencies(withSpares, SPARES, WARM_UPS);
  await latencies(withoutSpares, 0, WARM_UPS);
  await bareLatencies(WARM_UPS);

  const [rounds, samples] = bench.quick ? [3, 2] : [5, 6];
  const figures = await alternate(
    {
      spare: async () => latency(await latencies(withSpares, SPARES, samples)),
      none: async () => latency(await latencies(withoutSpares, 0, samples)),
      bare: async () => latency(await bareLatencies(samples)),
    },
    rounds,
  );
  const bare = { name: "bare engine", value: figures.bare.p50 };
  return {
    rows: [
      {
        what: "with a spare p50",
        value: figures.spare.p50,
        unit: "ms",
        yardstick: bare,
        limits: { better: "lower", bound: 0.2, aim: 0.1 },
      },
      {
        what: "without a spare p50",
        value: figures.none.p50,
        unit: "ms",
        yardstick: bare,
        limits: { better: "lower", bound: 0.8, aim: 0.7 },
      },
    ],
    notes: ["bare engine: create, start and boot of Node by dockerode, without network"],
  };
}
