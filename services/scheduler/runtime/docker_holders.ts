/**
 * Networks that are open before they are needed. Making one takes longer than all else in a container's start, so a worker
 * joins that of a holder: a container that does nothing. A holder serves one worker at a time and then the next one,
 * whosever it is; no worker has the right to change a network, and its sockets end with it.
 *
 * H1. At most one worker at a time is in a holder's network.
 * H2. What is free is told by the engine's list, so nothing is lost with this process.
 * H3. There are as many as workers were there at once lately, up to a bound, so that the next burst finds them open.
 */
import type { ContainerInfo } from "dockerode";
import type { Logger } from "../../platform/log.js";
import type { DockerContainers } from "./docker_containers.js";
import type { DockerEngine } from "./docker_engine.js";
import { type ContainerSettings, holderContainer, LABELS } from "./docker_profile.js";

const NETWORK_OF = "container:";
/** A holder above those kept ready goes when it was free for this long, and as long a burst is remembered (H3). */
const IDLE_MS = 10 * 60_000;
/** Free ones that are kept for the next burst at most: each takes a few MiB. */
const MOST_FOR_BURST = 16;

export class DockerHolders {
  readonly #engine: DockerEngine;
  readonly #containers: DockerContainers;
  readonly #settings: ContainerSettings;
  readonly #ready: number;
  readonly #log: Logger;
  /** Free ones, by container id, and since when (monotonic), the longest free first. */
  readonly #free = new Map<string, number>();
  readonly #used = new Set<string>();
  readonly #removals = new Set<Promise<void>>();
  /** The most workers at once, and when that was last. */
  #peak = { workers: 0, at: 0 };
  #filling: Promise<void> | undefined;
  #isClosed = false;

  /** @param ready how many are kept free */
  constructor(
    engine: DockerEngine,
    containers: DockerContainers,
    settings: ContainerSettings,
    ready: number,
    log: Logger,
  ) {
    this.#engine = engine;
    this.#containers = containers;
    this.#settings = settings;
    this.#ready = ready;
    this.#log = log;
  }

  /**
   * The network mode of a worker: of a free holder, or, where there is none, of the network itself.
   *
   * @param workers how many there are now
   */
  take(workers: number): string {
    if (workers >= this.#peak.workers) this.#peak = { workers, at: performance.now() };
    const id = [...this.#free.keys()].at(-1);
    if (id === undefined) return this.#settings.network;
    this.#free.delete(id);
    this.#used.add(id); // H1
    return NETWORK_OF + id;
  }

  /** The worker that was in it is gone. */
  giveBack(networkMode: string): void {
    const id = holderOf(networkMode);
    if (id !== undefined && this.#used.delete(id)) this.#free.set(id, performance.now());
  }

  /** No worker could be started in it. */
  async discard(networkMode: string): Promise<void> {
    const id = holderOf(networkMode);
    if (id === undefined) return;
    this.#used.delete(id);
    this.#free.delete(id);
    await this.#remove(id);
  }

  /** Compares with the containers of the installation, as the engine lists them (H2); then sees to the number. */
  compare(containers: readonly ContainerInfo[]): void {
    const { schedulerId } = this.#settings;
    const inUse = new Set(containers.flatMap(({ HostConfig }) => holderOf(HostConfig.NetworkMode) ?? []));
    const running = new Set<string>();
    for (const { Id, Labels, State } of containers) {
      if (Labels[LABELS.role] !== "holder" || Labels[LABELS.scheduler] !== schedulerId) continue;
      if (State === "running") running.add(Id);
      // One that is only created is being made, or was left so.
      else if (!this.#used.has(Id) && (State !== "created" || this.#filling === undefined)) void this.#remove(Id);
    }
    for (const id of this.#free.keys()) if (!running.has(id)) this.#free.delete(id);
    for (const id of running) {
      if (!this.#used.has(id) && !this.#free.has(id) && !inUse.has(id)) this.#free.set(id, performance.now());
    }
    for (const [id, since] of this.#free) {
      if (this.#free.size <= this.#wanted || performance.now() - since < IDLE_MS) break;
      this.#free.delete(id);
      void this.#remove(id);
    }
    this.fill();
  }

  /** How many are to be free now. */
  get #wanted(): number {
    if (this.#ready === 0 || performance.now() - this.#peak.at > IDLE_MS) return this.#ready;
    return Math.max(this.#ready, Math.min(this.#peak.workers - this.#used.size, MOST_FOR_BURST));
  }

  /** Makes what is missing, one after the other, in the background. */
  fill(): void {
    if (this.#isClosed || this.#filling !== undefined || this.#free.size >= this.#wanted) return;
    this.#filling = this.#make()
      .catch((err: unknown) => this.#log.warn({ err }, "a network could not be made ready; trying again"))
      .finally(() => {
        this.#filling = undefined;
      });
  }

  /** Removes all of this scheduler that no worker is in. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#filling;
    this.#used.clear();
    this.compare(await this.#containers.list());
    const free = [...this.#free.keys()];
    this.#free.clear();
    await Promise.all([...this.#removals, ...free.map((id) => this.#remove(id))]);
  }

  async #make(): Promise<void> {
    while (!this.#isClosed && this.#free.size < this.#wanted) {
      const container = await this.#engine.call((docker, abortSignal) =>
        docker.createContainer({ ...holderContainer(this.#settings), abortSignal }),
      );
      await this.#engine.call((_, abortSignal) => container.start({ abortSignal }));
      this.#free.set(container.id, performance.now());
    }
  }

  #remove(id: string): Promise<void> {
    const removal = this.#containers
      .remove(id)
      .catch((err: unknown) => {
        this.#log.warn({ err, containerId: id }, "a holder could not be removed; it will be looked at again");
      })
      .finally(() => this.#removals.delete(removal));
    this.#removals.add(removal);
    return removal;
  }
}

function holderOf(networkMode: string): string | undefined {
  return networkMode.startsWith(NETWORK_OF) ? networkMode.slice(NETWORK_OF.length) : undefined;
}

/** Living or not. */
export function schedulersWithHolders(containers: readonly ContainerInfo[]): string[] {
  const holders = containers.filter(({ Labels }) => Labels[LABELS.role] === "holder");
  return [...new Set(holders.flatMap(({ Labels }) => Labels[LABELS.scheduler] ?? []))];
}
