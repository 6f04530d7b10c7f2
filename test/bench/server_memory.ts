/** (e) Memory of a server that does nothing, and of what waits in it. */
import { pause } from "./harness/clock.js";
import { cpuMsOf, memoryOf } from "./harness/proc.js";
import { type Server, startServer } from "./harness/server.js";
import { median } from "./harness/statistics.js";
import type { Bench, Measurement, Outcome, Row } from "./measurement.js";

/** In which what a start or a burst left behind comes to rest. */
const SETTLE_MS = 3_000;
const STARTS_AT_ONCE = 1_000;
const LOOKS = 3;

export const serverMemory: Measurement = { name: "memory", title: "(e) memory of the server", measure };

async function measure(bench: Bench): Promise<Outcome> {
  await using server = await startServer(bench, { name: "memory" });
  await pause(SETTLE_MS);
  const untouched = memoryOf(server.pid);
  const idleCpu = await cpuShare(server.pid);
  await server.deploy();
  const blocked = server.function<() => void>("blocked");
  const count = bench.quick ? 5_000 : 10_000;
  // As many wait already: what grows once, such as the database's page cache, has its size.
  await startMany(blocked, count);
  await pause(SETTLE_MS);

  const before = await look(server);
  await startMany(blocked, count);
  await pause(SETTLE_MS);
  const after = await look(server);
  const growth = (figure: keyof Look): number => (after[figure] - before[figure]) / count / 1_024;
  const limits = { better: "lower", bound: 0.5, aim: 0.1 } as const;
  const rows: Row[] = [
    {
      what: "idle RSS",
      value: untouched.rssKib / 1_024,
      unit: "MiB",
      limits: { better: "lower", bound: 110, aim: 110 },
    },
    { what: "idle PSS", value: untouched.pssKib / 1_024, unit: "MiB" },
    { what: "idle CPU", value: idleCpu * 100, unit: "%", limits: { better: "lower", bound: 1, aim: 1 } },
    { what: `RSS of a waiting invocation, of ${count}`, value: growth("rssBytes"), unit: "KiB", limits },
    { what: "the same, heap used", value: growth("heapUsedBytes"), unit: "KiB" },
  ];
  const spares = server.workerPids.map((pid) => (memoryOf(pid).pssKib / 1_024).toFixed(0));
  return { rows, notes: [`PSS of the worker processes: ${spares.join(", ")} MiB`] };
}

interface Look {
  readonly rssBytes: number;
  readonly heapUsedBytes: number;
}

/** Medians of a few looks, each after a garbage collection. */
async function look(server: Server): Promise<Look> {
  const looks = [];
  for (let i = 0; i < LOOKS; i++) looks.push(await server.memory());
  return {
    rssBytes: median(looks.map(({ rssBytes }) => rssBytes)),
    heapUsedBytes: median(looks.map(({ heapUsedBytes }) => heapUsedBytes)),
  };
}

async function startMany(blocked: { start(): Promise<string> }, count: number): Promise<void> {
  for (let started = 0; started < count; started += STARTS_AT_ONCE) {
    const size = Math.min(STARTS_AT_ONCE, count - started);
    await Promise.all(Array.from({ length: size }, () => blocked.start()));
  }
}

async function cpuShare(pid: number): Promise<number> {
  const before = cpuMsOf(pid);
  const startedAt = performance.now();
  await pause(SETTLE_MS);
  return (cpuMsOf(pid) - before) / (performance.now() - startedAt);
}
