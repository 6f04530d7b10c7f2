/** What the chaos tests of the cluster have in common: the cluster, a recorder outside of it, a load, and the end. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { LABELS } from "../../services/scheduler/runtime/docker_profile.js";
import { type Cluster, type ClusterOptions, startCluster } from "../harness/cluster.js";
import { connectTarget } from "../harness/connected_target.js";
import { repositoryFile } from "../harness/repository.js";
import { checkLimits } from "./at_once.js";
import { History } from "./history.js";
import { readJournal } from "./journal.js";
import { Load } from "./load.js";
import { Random } from "./random.js";
import { Recorder } from "./recorder.js";
import { leftOverProcesses, queuesIn } from "./remains.js";
import type { ChaosSettings } from "./rounds.js";
import { judge } from "./verdict.js";

export interface Scene {
  readonly cluster: Cluster;
  readonly recorder: Recorder;
  readonly load: Load;
  readonly history: History;
  readonly random: Random;
  readonly tell: (line: string) => void;
}

/** Longest time from the end of everything until only spare workers are left. */
const SETTLE_BOUND_MS = 90_000;
const LOOK_MS = 500;

/** Lets `act` have its way with a cluster, waits for the end of everything that it started, and answers the complaints. */
export async function onCluster(
  { seed, folder, environmentText, tell }: ChaosSettings,
  options: Omit<ClusterOptions, "folder">,
  functionNames: readonly string[],
  act: (scene: Scene) => Promise<void>,
): Promise<string[]> {
  const history = new History(join(folder, "history.jsonl"));
  const journal = join(folder, "journal.jsonl");
  const cluster = await startCluster({ ...options, folder });
  try {
    const recorder = await Recorder.open(cluster.hostForWorkers, journal);
    const target = connectTarget({ apiUrl: cluster.apiUrl, apiKey: cluster.apiKey, kind: "services" });
    const tasks = await readFile(repositoryFile("test/chaos/tasks/main.ts"), "utf8");
    const { projectName } = await target.deploy({ "main.ts": tasks });
    tell(`a cluster with workers in ${options.runtime === "docker" ? "containers" : "processes"} is up`);
    const load = new Load({ client: target.client, projectName, history, journal: recorder.address });
    await act({ cluster, recorder, load, history, random: new Random(seed), tell });
    await load.finish(functionNames);
    await target.close();
    const leftOver = await containersAboveSpares(cluster, 2 * options.spareWorkers);
    await cluster.stopServices();
    leftOver.push(...(await cluster.containers()).map(({ Names }) => `container ${Names.join(" ")}`));
    leftOver.push(...cluster.endedByThemselves());
    for (const what of leftOver) history.add({ type: "leftOver", what });
    if (options.runtime === "process") {
      const workersDirs = ["scheduler-1", "scheduler-2"].map((name) => join(folder, name));
      for (const left of await leftOverProcesses(workersDirs, [], environmentText)) history.add(left);
    }
    for (const queue of await queuesIn(cluster.postgres)) history.add(queue);
    await recorder.close();
  } finally {
    await cluster.remove();
  }
  return [...judge(history, journal, tell), ...checkLimits(readJournal(journal))];
}

/** While the services live there are spare workers; any other that is left after a while is nobody's. */
async function containersAboveSpares(cluster: Cluster, spares: number): Promise<string[]> {
  const endsAt = performance.now() + SETTLE_BOUND_MS;
  for (;;) {
    const workers = (await cluster.containers()).filter(({ Labels }) => Labels[LABELS.worker] !== undefined);
    if (workers.length <= spares) return [];
    if (performance.now() > endsAt) return [`${workers.length} workers in containers, of which ${spares} are spare`];
    await delay(LOOK_MS);
  }
}
