/** The rounds of a chaos test: a server, its load, and its sudden end, again and again. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connectTarget } from "../harness/connected_target.js";
import { repositoryFile } from "../harness/repository.js";
import type { ChaosArguments } from "./chaos_arguments.js";
import { History, type HistoryEvent } from "./history.js";
import { Load } from "./load.js";
import { isAlive, type ProcessName, signalProcess, until } from "./processes.js";
import { Random } from "./random.js";
import { remainsOf } from "./remains.js";
import { RestartableServer } from "./server.js";
import { judge } from "./verdict.js";
import { FUNCTION_NAMES, planStarts } from "./workload.js";

export interface ChaosSettings extends ChaosArguments {
  /** An empty folder. */
  readonly folder: string;
  /** What every process of the server has in its environment, as "NAME=value". */
  readonly environmentText: string;
  readonly tell: (line: string) => void;
}

/** Longest life of a server, from when it listens. */
const LIFE_MS = 2_500;
/** Longest time that a server has from its first line to its death during the start. */
const BOOT_MS = 500;
/** A worker that was stopped must be gone this long after the next start. */
const GONE_BOUND_MS = 3_000;

/** Answers the complaints. */
export async function runChaos(settings: ChaosSettings): Promise<string[]> {
  const { folder, tell, seed, rounds, invocations } = settings;
  const random = new Random(seed);
  const history = new History(join(folder, "history.jsonl"));
  const journal = join(folder, "journal.jsonl");
  const server = new RestartableServer(join(folder, "data"));
  try {
    const target = connectTarget(await server.start());
    const tasks = await readFile(repositoryFile("test/chaos/tasks/main.ts"), "utf8");
    const { projectName } = await target.deploy({ "main.ts": tasks });
    const load = new Load({ client: target.client, projectName, history, journal });
    const starts = planStarts(random, invocations);
    const background: Promise<void>[] = [];
    let stopped: ProcessName | undefined;
    for (let round = 1; round <= rounds; round++) {
      const share = starts.splice(0, Math.ceil(starts.length / (rounds - round + 1)));
      background.push(load.start(share));
      await delay(random.between(50, LIFE_MS));
      const end = random.chance(0.15) ? "SIGTERM" : "SIGKILL";
      if (end === "SIGKILL" && random.chance(0.4)) stopped = stopOneWorker(server, random);
      tell(
        `round ${round}: ${end}${stopped === undefined ? "" : `, worker ${stopped.pid} stopped`}, ${load.ids.length} acknowledged`,
      );
      await (end === "SIGTERM" ? server.stop() : server.kill());
      history.add({ type: "killed", round });
      if (random.chance(0.25)) await server.startAndKill(random.between(0, BOOT_MS));
      await server.start();
      if (stopped !== undefined) for (const left of await expectGone(stopped)) history.add(left);
      stopped = undefined;
      await load.look();
    }
    await Promise.all(background);
    await load.finish(FUNCTION_NAMES);
    await target.close();
    await server.stop();
    const dataDirs = { invocations: server.dataDir, workers: server.dataDir };
    for (const remain of await remainsOf(dataDirs, server.workers, settings.environmentText)) history.add(remain);
  } finally {
    await server.kill();
  }
  return judge(history, journal, tell);
}

/** Its lifeline cannot wake it: only the next server can end it. */
function stopOneWorker(server: RestartableServer, random: Random): ProcessName | undefined {
  const workers = server.seeWorkers();
  if (workers.length === 0) return undefined;
  const worker = random.pick(workers);
  signalProcess(worker.pid, "SIGSTOP");
  return worker;
}

async function expectGone(worker: ProcessName): Promise<HistoryEvent[]> {
  const isGone = await until(() => !isAlive(worker), GONE_BOUND_MS);
  return isGone ? [] : [{ type: "leftOver", what: `worker ${worker.pid}, which was stopped` }];
}
