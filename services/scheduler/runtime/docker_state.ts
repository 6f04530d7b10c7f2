/** What is left of workers, from what the engine says of their containers: pure. */
import type { ContainerInfo } from "dockerode";
import { LABELS } from "./docker_profile.js";
import type { FoundWorker } from "./runtime.js";

/** Whether a container in this state has run and has no process any more. Nobody starts one a second time. */
export function hasEnded(state: string): boolean {
  return state === "exited" || state === "dead";
}

/** The workers of whichever scheduler among the containers of an installation. */
export function workersIn(containers: readonly ContainerInfo[]): FoundWorker[] {
  return containers.flatMap(({ Labels, State }) => {
    const { [LABELS.worker]: workerId, [LABELS.scheduler]: schedulerId } = Labels;
    if (workerId === undefined || schedulerId === undefined) return [];
    // One of which the engine says that it is being removed has no process either.
    return { workerId, schedulerId, hasEnded: hasEnded(State) || State === "removing" };
  });
}
