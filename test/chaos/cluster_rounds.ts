/** Everything of a cluster may die: a service, a proxy, NATS, PostgreSQL or the Docker engine, again and again, under load. */
import { setTimeout as delay } from "node:timers/promises";
import type { Member } from "../harness/cluster.js";
import { onCluster } from "./cluster_scene.js";
import type { Random } from "./random.js";
import type { ChaosSettings } from "./rounds.js";
import { FUNCTION_NAMES, planStarts } from "./workload.js";

/** Longest time between two deaths, and from a death to the next start. */
const LIFE_MS = 2_000;
const DEATH_MS = 1_000;
/** Invocations that are looked at after each death. */
const LOOKS = 200;
/** Of each scheduler. */
const WORKERS = { process: 16, docker: 12 } as const;

/** Answers the complaints. */
export async function runClusterChaos(settings: ChaosSettings): Promise<string[]> {
  const { rounds, invocations, runtime } = settings;
  const options = { runtime, maxWorkers: WORKERS[runtime], spareWorkers: 2 };
  return await onCluster(settings, options, FUNCTION_NAMES, async ({ cluster, load, history, random, tell }) => {
    const starts = planStarts(random, invocations);
    const background: Promise<void>[] = [];
    const turn = shuffled(cluster.members, random);
    for (let round = 1; round <= rounds; round++) {
      const share = starts.splice(0, Math.ceil(starts.length / (rounds - round + 1)));
      background.push(load.start(share));
      await delay(random.between(50, LIFE_MS));
      // Each at least once, if there are rounds enough.
      const member = turn[round - 1] ?? random.pick(cluster.members);
      tell(`round ${round}: kill -9 of ${member.name}, ${load.ids.length} acknowledged`);
      await member.kill();
      history.add({ type: "killed", round });
      await delay(random.between(0, DEATH_MS));
      await member.start();
      await load.look(LOOKS);
    }
    tell("healed: waiting for the end of everything");
    await Promise.all(background);
  });
}

function shuffled(members: readonly Member[], random: Random): Member[] {
  return members
    .map((member) => ({ member, at: random.next() }))
    .sort((one, other) => one.at - other.at)
    .map(({ member }) => member);
}
