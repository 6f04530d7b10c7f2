/** The bare engine as the yardstick: what it takes without us until the first line of a program runs in a container. */
import type Docker from "dockerode";
import { LABELS } from "../../../services/scheduler/runtime/docker_profile.js";
import { BASE_IMAGE, type TestEngine } from "../../harness/docker.js";
import { machineClockMs, pause, within } from "./clock.js";
import type { Cluster } from "./cluster.js";

const FIRST_LINE = "process.stdout.write(String(process.hrtime.bigint()))";
const SETTLE_BOUND_MS = 60_000;
const LOOK_MS = 100;
/** In which the machine comes to rest. */
const REST_MS = 1_000;

/** Creates and starts containers at once, without network and limits, and answers how long it took until each ran Node. */
export async function bareStarts({ docker }: TestEngine, count: number): Promise<number[]> {
  const startedAt = machineClockMs();
  const containers = await Promise.all(
    Array.from({ length: count }, async () => {
      const container = await docker.createContainer({
        Image: BASE_IMAGE,
        Cmd: ["node", "-e", FIRST_LINE],
        HostConfig: { NetworkMode: "none" },
      });
      await container.start();
      return container;
    }),
  );
  return await Promise.all(containers.map(async (container) => (await firstLineMs(container)) - startedAt));
}

/** When it ran, by the machine's clock, which containers share. Removes it. */
async function firstLineMs(container: Docker.Container): Promise<number> {
  await container.wait();
  const printed = (await container.logs({ stdout: true })).toString();
  const nanoseconds = /\d{6,}$/.exec(printed.trim())?.[0];
  if (nanoseconds === undefined) throw new Error(`a bare container printed ${printed}`);
  await container.remove();
  return Number(nanoseconds) / 1e6;
}

/** Resolves when exactly the spares of a cluster run, and what was used is gone. */
export async function settled({ docker }: TestEngine, cluster: Cluster, spareWorkers: number): Promise<void> {
  const label = [`${LABELS.installation}=${cluster.installationId}`, `${LABELS.role}=worker`];
  const isSettled = async () => {
    const workers = await docker.listContainers({ all: true, filters: { label } });
    return workers.length === spareWorkers && workers.every(({ State }) => State === "running");
  };
  const wait = async () => {
    while (!(await isSettled())) await pause(LOOK_MS);
  };
  await within(SETTLE_BOUND_MS, "the return to the spares alone", wait());
  await pause(REST_MS);
}
