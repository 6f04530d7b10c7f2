/** Schedulers, as processes, that are stopped and started again while their workers run in containers. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Cluster, startCluster } from "../harness/cluster.js";
import { connectTarget, type DeployedProject, type Target } from "../harness/connected_target.js";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { eventually, untilTerminated } from "../harness/observe.js";

const MAIN = `
  import { Multinode } from "multinode";
  import { holdLine, passGate } from "./gate.js";
  export const mn = new Multinode();
  export const held = mn.function(async (line: string, gate: string) => {
    await holdLine(line);
    await passGate(gate);
    return "passed";
  });
  const warmOptions = { maxInvocationsPerWorker: Infinity, workerConcurrency: 4, maxConcurrency: 100 };
  export const warm = mn.function(warmOptions, async (value: number) => value);
  export const fresh = mn.function({ maxConcurrency: 100 }, async (value: number) => value);
`;
const SCHEDULERS = ["scheduler-1", "scheduler-2"] as const;

let folder: string;
let cluster: Cluster;
let target: Target;
let gates: Gates;
let project: DeployedProject;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-scheduler-stop-"));
  cluster = await startCluster({ folder, runtime: "docker", maxWorkers: 8, spareWorkers: 1 });
  gates = await Gates.open(cluster.hostForWorkers);
  target = connectTarget({ apiUrl: cluster.apiUrl, apiKey: cluster.apiKey, kind: "services" });
  project = await target.deploy({ "main.ts": MAIN, "gate.ts": GATE_SOURCE });
}, 120_000);

afterAll(async () => {
  gates.close();
  await target.close();
  await cluster.stopServices();
  await cluster.remove();
  await rm(folder, { recursive: true, force: true });
}, 120_000);

/** As for an upgrade. */
async function restart(...names: readonly (typeof SCHEDULERS)[number][]): Promise<void> {
  const stopped = names.map((name) => cluster.process(name));
  await Promise.all(stopped.map((process) => process.stop()));
  for (const process of stopped) {
    expect(await process.ended).toBe(0);
    expect(process.logged().at(-1)?.["msg"]).toBe("stopped"); // and nothing was left over that would have kept it
  }
  await Promise.all(names.map((name) => cluster.member(name).start()));
}

it("both at the same time end in order, and what runs goes on when they are back", async () => {
  const [line, gate] = [gates.place(), gates.place()];
  const held = project.fn<(line: string, gate: string) => string>("held");
  const ids = await Promise.all(Array.from({ length: 6 }, () => held.start(line, gate)));
  await eventually(
    () => gates.holders(line),
    ({ now }) => now === ids.length,
  );
  await restart(...SCHEDULERS);
  expect(await gates.holders(line)).toEqual({ now: ids.length, ever: ids.length });
  gates.open(gate);
  for (const id of ids) {
    const { status, executions } = await untilTerminated(held, id);
    expect([status, executions.length]).toEqual(["SUCCEEDED", 1]);
  }
});

it.each([
  ["warm", 40],
  ["fresh", 6],
])("each in turn costs no attempt of a function that is called all the time (%s)", async (name, callers) => {
  const fn = project.fn<(value: number) => number>(name);
  let isOver = false;
  const ids: string[] = [];
  const call = async () => {
    while (!isOver) {
      const id = await fn.start(1);
      ids.push(id);
      expect(await fn.awaitResult(id)).toBe(1);
    }
  };
  const calling = Promise.allSettled(Array.from({ length: callers }, call));
  try {
    await eventually(
      () => ids.length,
      (started) => started > 2 * callers,
    );
    for (const scheduler of SCHEDULERS) await restart(scheduler);
  } finally {
    isOver = true;
  }
  expect((await calling).filter(({ status }) => status === "rejected")).toEqual([]);
  const all = await Promise.all(ids.map((id) => fn.get(id)));
  expect(all.filter(({ executions }) => executions.length !== 1)).toEqual([]);
});
