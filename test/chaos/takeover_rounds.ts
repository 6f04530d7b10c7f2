/** Schedulers, gateway and invocation services die while all workers, in containers, run: no attempt may be lost. */
import { setTimeout as delay } from "node:timers/promises";
import type { MemberName } from "../harness/cluster.js";
import { onCluster, type Scene } from "./cluster_scene.js";
import type { ChaosSettings } from "./rounds.js";

const FUNCTION = "lasting";
/** How long each function runs once all have begun. */
const WORK_MS = 20_000;
const BEGIN_BOUND_MS = 180_000;
/** From a death to the next start, and from that to the next death. */
const DEATH_MS = [0, 1_000] as const;
const LIFE_MS = [1_000, 2_500] as const;

/** What dies, one after the other. */
const VICTIMS: readonly MemberName[] = [
  "scheduler-1",
  "scheduler-2",
  "worker-gate",
  "gateway",
  "invocation-1",
  "invocation-2",
];

/** `rounds`: generations of functions over which the deaths are spread. `invocations`: of each. Answers the complaints. */
export async function runTakeover(settings: ChaosSettings): Promise<string[]> {
  const { invocations, rounds } = settings;
  // Without spare ones: those of a scheduler that dies are nobody's for a while, which another test waits for.
  const options = { runtime: "docker", maxWorkers: invocations, spareWorkers: 0 } as const;
  return await onCluster(settings, options, [FUNCTION], async (scene) => {
    const share = Math.ceil(VICTIMS.length / rounds);
    for (let first = 0; first < VICTIMS.length; first += share) {
      await runGeneration(scene, VICTIMS.slice(first, first + share), invocations);
    }
    const taken = ["scheduler-1", "scheduler-2"] as const;
    const movedWorkers = taken.flatMap((name) => scene.cluster.process(name).logged()).filter(isTakeover).length;
    scene.tell(`${movedWorkers} workers were taken over by the schedulers that live now`);
    if (movedWorkers === 0)
      scene.history.add({ type: "leftOver", what: "no worker went from one scheduler to another" });
  });
}

async function runGeneration(
  { cluster, recorder, load, history, random, tell }: Scene,
  victims: readonly MemberName[],
  count: number,
): Promise<void> {
  recorder.hold();
  const first = load.ids.length;
  const plan = { functionName: FUNCTION, workMs: WORK_MS, afterMs: 0, idempotencyKey: undefined, isRepeated: false };
  const starts = Array.from({ length: count }, (_, index) => ({ ...plan, n: first + index, cancelAfterMs: undefined }));
  await load.start(starts);
  await recorder.untilRunning((running) => running >= count, BEGIN_BOUND_MS);
  recorder.release();
  tell(`${count} workers run`);
  for (const name of victims) {
    const member = cluster.member(name);
    tell(`kill -9 of ${name}`);
    await member.kill();
    history.add({ type: "killed", round: 1 });
    await delay(random.between(...DEATH_MS));
    await member.start();
    await delay(random.between(...LIFE_MS));
  }
  await recorder.untilRunning((running) => running === 0, BEGIN_BOUND_MS);
}

function isTakeover(line: Readonly<Record<string, unknown>>): boolean {
  return line["msg"] === "a worker was taken over";
}
