/** Two schedulers share the slots of one function, while one is killed again and again and the other stands still past its lease. */
import { setTimeout as delay } from "node:timers/promises";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { onCluster, type Scene } from "./cluster_scene.js";
import { signalProcess } from "./processes.js";
import type { Random } from "./random.js";
import type { ChaosSettings } from "./rounds.js";
import type { PlannedStart } from "./workload.js";

const FUNCTION = "limited";
const SCHEDULERS = ["scheduler-1", "scheduler-2"] as const;
type SchedulerName = (typeof SCHEDULERS)[number];

const LIFE_MS = [1_500, 4_000] as const;
const DEATH_MS = [0, 800] as const;
/** How much longer than its lease a scheduler stands still. */
const PAST_LEASE_MS = [1_000, 4_000] as const;
/** Deaths after one that stood still has been woken. */
const DEATHS_AFTER = 1;

/** `rounds`: how often a scheduler stands still. Answers the complaints. */
export async function runLimits(settings: ChaosSettings): Promise<string[]> {
  const { rounds, invocations, runtime } = settings;
  return await onCluster(settings, { runtime, maxWorkers: 12, spareWorkers: 2 }, [FUNCTION], async (scene) => {
    const { load, recorder, random } = scene;
    await load.start(planLimited(random, invocations));
    for (let round = 1; round <= rounds; round++) {
      await recorder.untilRunning((running) => running > 0, LIMITS.leaseDurationMs * 2);
      const still = random.pick(SCHEDULERS);
      await standStill(scene, still, still === "scheduler-1" ? "scheduler-2" : "scheduler-1");
      for (let death = 0; death < DEATHS_AFTER; death++) await die(scene, random.pick(SCHEDULERS));
    }
  });
}

function planLimited(random: Random, count: number): PlannedStart[] {
  return Array.from({ length: count }, (_, n) => ({
    functionName: FUNCTION,
    n,
    workMs: random.between(100, 1_500),
    afterMs: random.between(0, 10),
    idempotencyKey: undefined,
    isRepeated: false,
    cancelAfterMs: undefined,
  }));
}

/** Stops one past its lease, kills the other one meanwhile, and wakes it. */
async function standStill(scene: Scene, still: SchedulerName, other: SchedulerName): Promise<void> {
  const { cluster, random, history, recorder, tell } = scene;
  const { pid } = cluster.process(still);
  tell(`${still} stands still; ${recorder.running} executions run`);
  signalProcess(pid, "SIGSTOP");
  const endsAt = performance.now() + LIMITS.leaseDurationMs + random.between(...PAST_LEASE_MS);
  while (performance.now() < endsAt) await die(scene, other);
  signalProcess(pid, "SIGCONT");
  history.add({ type: "killed", round: 0 });
  tell(`${still} goes on; ${recorder.running} executions run`);
}

async function die({ cluster, random, history, tell, recorder }: Scene, name: SchedulerName): Promise<void> {
  await delay(random.between(...LIFE_MS));
  tell(`kill -9 of ${name}; ${recorder.running} executions run`);
  await cluster.member(name).kill();
  history.add({ type: "killed", round: 0 });
  await delay(random.between(...DEATH_MS));
  await cluster.member(name).start();
}
