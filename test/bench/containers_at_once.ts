/** (g) Sixteen functions started at once, each in a fresh container, without a spare. */
import { startEngine } from "../harness/docker.js";
import { machineClockMs } from "./harness/clock.js";
import { startCluster } from "./harness/cluster.js";
import { bareStarts, settled } from "./harness/engine.js";
import { FRESH_TASKS } from "./harness/repository.js";
import { alternate } from "./harness/statistics.js";
import type { Bench, Measurement, Outcome } from "./measurement.js";

const AT_ONCE = 16;
/** After the first, networks are ready for as many. */
const WARM_UPS = 2;

export const containersAtOnce: Measurement = {
  name: "burst",
  title: `(g) ${AT_ONCE} functions at once, each in a fresh container, without a spare`,
  measure,
};

async function measure(bench: Bench): Promise<Outcome> {
  await using cleanup = new AsyncDisposableStack();
  const engine = await startEngine();
  cleanup.defer(() => engine.stop());
  await engine.buildWorkerImage();
  const cluster = cleanup.use(await startCluster(bench, { name: "burst", containers: { engine, spareWorkers: 0 } }));
  await cluster.deploy(FRESH_TASKS);
  const fresh = cluster.function<() => number>("fresh");

  const rateOf = (latenciesMs: readonly number[]) => (AT_ONCE * 1_000) / Math.max(...latenciesMs);
  const ours = async () => {
    await settled(engine, cluster, 0);
    const startedAt = machineClockMs();
    const firstLines = await Promise.all(Array.from({ length: AT_ONCE }, () => fresh.callRemote()));
    return { rate: rateOf(firstLines.map((at) => at - startedAt)) };
  };
  const bare = async () => {
    await settled(engine, cluster, 0);
    return { rate: rateOf(await bareStarts(engine, AT_ONCE)) };
  };
  for (let i = 0; i < WARM_UPS; i++) {
    await ours();
    await bare();
  }
  const figures = await alternate({ ours, bare }, bench.quick ? 3 : 7);
  return {
    rows: [
      {
        what: "starts",
        value: figures.ours.rate,
        unit: "/s",
        yardstick: { name: "bare engine", value: figures.bare.rate },
        limits: { better: "higher", bound: 1.6, aim: 1.8 },
      },
    ],
    notes: [],
  };
}
