/** The rounds of a chaos test on the services as processes of their own: one of them dies suddenly, again and again. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connectTarget } from "../harness/connected_target.js";
import { repositoryFile } from "../harness/repository.js";
import { type ServiceName, startServicesTarget } from "../harness/services_target.js";
import { History } from "./history.js";
import { Load } from "./load.js";
import { childrenOf, type ProcessName } from "./processes.js";
import { Random } from "./random.js";
import { remainsOf } from "./remains.js";
import type { ChaosSettings } from "./rounds.js";
import { judge } from "./verdict.js";
import { FUNCTION_NAMES, planStarts } from "./workload.js";

/** Longest time between two deaths, and from a death to the next start. */
const LIFE_MS = 2_000;
const DEATH_MS = 1_000;

/** Answers the complaints. */
export async function runServiceChaos(settings: ChaosSettings): Promise<string[]> {
  const { folder, tell, seed, rounds, invocations } = settings;
  const random = new Random(seed);
  const history = new History(join(folder, "history.jsonl"));
  const journal = join(folder, "journal.jsonl");
  const workers: ProcessName[] = [];
  const services = await startServicesTarget(folder);
  try {
    const target = connectTarget(services);
    const tasks = await readFile(repositoryFile("test/chaos/tasks/main.ts"), "utf8");
    const { projectName } = await target.deploy({ "main.ts": tasks });
    const load = new Load({ client: target.client, projectName, history, journal });
    const starts = planStarts(random, invocations);
    const background: Promise<void>[] = [];
    for (let round = 1; round <= rounds; round++) {
      const share = starts.splice(0, Math.ceil(starts.length / (rounds - round + 1)));
      background.push(load.start(share));
      await delay(random.between(50, LIFE_MS));
      const victims: ServiceName[] = ["scheduler", "invocation", "registry"];
      const name = victims[round - 1] ?? random.pick(victims);
      tell(`round ${round}: kill -9 of the ${name}, ${load.ids.length} acknowledged`);
      workers.push(...childrenOf(services.servers["scheduler"]?.pid ?? 0));
      await services.servers[name]?.kill();
      history.add({ type: "killed", round });
      await delay(random.between(0, DEATH_MS));
      await services.restart(name);
      await load.look();
    }
    await Promise.all(background);
    await load.finish(FUNCTION_NAMES);
    await target.close();
  } finally {
    await services.stop();
  }
  const dataDirs = { invocations: join(folder, "invocation"), workers: join(folder, "scheduler") };
  for (const remain of await remainsOf(dataDirs, workers, settings.environmentText)) history.add(remain);
  return judge(history, journal, tell);
}
