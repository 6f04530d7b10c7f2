/**
 * Workers as containers of a Docker engine, one for each, hardened (docker_profile.ts). Any number of schedulers share an
 * engine.
 *
 * It isolates processes, files, users, memory, CPU and, between workers, the network. The kernel is shared.
 *
 * E1. The engine's list of labelled containers is the truth. Events and streams only say where to look, and a timer looks
 *     anyway.
 * E2. An outage of the engine delays: what was asked for is asked for again until it is done or not wanted any more.
 * E3. A worker's end is told when its container is removed, and once.
 * E4. Containers outlive their scheduler. Whoever comes next finds them by their labels (`listInstallation`).
 */
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { ContainerInspectInfo } from "dockerode";
import type { Logger } from "../../platform/log.js";
import { ContainerRuntime, KnownWorker, STUBBORN_MS } from "./container_runtime.js";
import { DockerContainers } from "./docker_containers.js";
import { backOff, DockerEngine, isMissingContainer, isMissingImage, isOutage } from "./docker_engine.js";
import { type ContainerEvent, followEvents } from "./docker_events.js";
import type { ContainerEnd } from "./docker_exit.js";
import { DockerHolders, schedulersWithHolders } from "./docker_holders.js";
import { DockerImages } from "./docker_images.js";
import { readOutput } from "./docker_output.js";
import { type ContainerSettings, LABELS } from "./docker_profile.js";
import { hasEnded, workersIn } from "./docker_state.js";
import {
  type FoundWorker,
  ImageIsMissingError,
  type RuntimeHolders,
  type WorkerResources,
  type WorkerSpec,
} from "./runtime.js";

export interface DockerRuntimeSettings extends ContainerSettings {
  readonly socketPath: string;
  /** Networks that are kept open for workers to come, at least. */
  readonly readyNetworks: number;
  /** Bound of one call to the engine, in milliseconds. Default 30 s. */
  readonly callTimeoutMs?: number;
  /** How often the engine's containers are compared with what is known here, in milliseconds. Default 5 s. */
  readonly compareIntervalMs?: number;
  /** Network of the steps of projects' Dockerfiles: one of the engine's, or "none". Absent: no images are built. */
  readonly buildNetwork?: string | undefined;
  /** How long an image that is not used is kept, in milliseconds. Default `imageGraceMs`. */
  readonly imageGraceMs?: number;
  readonly log: Logger;
}

class DockerWorker extends KnownWorker {
  networkMode: string | undefined;
  sawOom = false;
  isLooked = false;
  /** As it was seen when it had ended. */
  seen: ContainerInspectInfo | undefined;
  /** Settles at the end of what it prints; undefined while nobody reads it. */
  output: Promise<void> | undefined;
}

const COMPARE_INTERVAL_MS = 5_000;
/** How long the last of the output may take after the container's end. */
const LAST_OUTPUT_MS = 1_000;
const CLOSE_HOLDERS_MS = 5_000;

export class DockerRuntime extends ContainerRuntime<DockerWorker> {
  readonly name = "docker";
  readonly takesFirstWork = true;
  readonly images: DockerImages | undefined;
  readonly holders: RuntimeHolders = {
    listSchedulers: async () => schedulersWithHolders(await this.#containers.list()),
    removeOf: async (schedulerId) => {
      const settings = { ...this.#settings, schedulerId };
      await new DockerHolders(this.#engine, this.#containers, settings, 0, settings.log).close();
    },
  };
  readonly #settings: DockerRuntimeSettings;
  readonly #engine: DockerEngine;
  readonly #containers: DockerContainers;
  readonly #holders: DockerHolders;
  #network: Promise<void> | undefined;
  #comparing: Promise<void> | undefined;

  constructor(settings: DockerRuntimeSettings) {
    const { installationId, readyNetworks, compareIntervalMs = COMPARE_INTERVAL_MS, log } = settings;
    super({ schedulerId: settings.schedulerId, compareIntervalMs });
    const engine = new DockerEngine(settings);
    this.#settings = settings;
    this.#engine = engine;
    const { buildNetwork } = settings;
    this.images = buildNetwork === undefined ? undefined : new DockerImages(engine, { ...settings, buildNetwork });
    this.#containers = new DockerContainers(engine, settings);
    this.#holders = new DockerHolders(engine, this.#containers, settings, readyNetworks, log);
    const handlers = { onEvent: (event: ContainerEvent) => this.#hint(event), onConnected: () => void this.compare() };
    void followEvents(engine, installationId, handlers, this.closing.signal);
  }

  async limit(workerId: string, resources: WorkerResources): Promise<void> {
    const worker = this.workers.get(workerId);
    const stop = worker?.stopping.signal ?? AbortSignal.abort();
    try {
      await this.#containers.limit(workerId, resources, stop);
    } catch (error) {
      if (!stop.aborted) throw error;
    }
  }

  /** The workers of all schedulers of the installation, those of schedulers that are gone included (E4). */
  async listInstallation(): Promise<FoundWorker[]> {
    return workersIn(await this.#containers.list());
  }

  protected async closeRest(): Promise<void> {
    const holdersClosed = this.#holders.close().catch(() => {}); // the next scheduler finds them (H2)
    await Promise.race([holdersClosed, delay(CLOSE_HOLDERS_MS, undefined, { ref: false })]);
  }

  protected known(workerId: string): DockerWorker {
    return new DockerWorker(workerId);
  }

  protected async create(worker: DockerWorker, spec: WorkerSpec): Promise<string> {
    return `container ${(await this.#start(worker, spec)).slice(0, 12)}`;
  }

  protected created(worker: DockerWorker): void {
    void this.#look(worker);
  }

  async #start(worker: DockerWorker, { firstWork: work, ...spec }: WorkerSpec): Promise<string> {
    const { image = this.#settings.image } = spec;
    let firstWork = work;
    const stop = worker.stopping.signal;
    for (let attempt = 0; ; attempt += 1) {
      let isAsked = false;
      try {
        await this.#ensureNetwork(stop);
        const networkMode = this.#holders.take(this.workers.size);
        worker.networkMode = networkMode;
        const created = await this.#containers.create({ ...spec, firstWork }, networkMode, stop);
        isAsked = true;
        await this.#containers.start(created, stop);
        this.#read(worker, created.output);
        return created.id;
      } catch (error) {
        this.#network = undefined; // it may have been removed
        if (stop.aborted) throw new Error("it was stopped before it had started", { cause: error });
        // Before its network is given up, which it is in if it runs.
        const begun = firstWork !== undefined && isAsked && isOutage(error) && (await this.#idOfBegun(worker.id, stop));
        if (typeof begun === "string") return begun;
        // An engine that ended in the middle of a start may say that it did not start what runs all the same. So the next one is
        // given its work when it comes, if no other process has come as this worker before.
        if (isAsked && isOutage(error)) firstWork = undefined;
        const isHoldersFault = await this.#leaveHolder(worker, error);
        if (image !== this.#settings.image && isMissingImage(error))
          throw new ImageIsMissingError(String(error), { cause: error });
        // A container that an earlier attempt left may go while this one goes on with it.
        const isGone = attempt > 0 && isMissingContainer(error);
        if (!isHoldersFault && !isGone && !isOutage(error)) throw error;
        await backOff(attempt, stop);
        // What became of the attempt is not known: another one begins from nothing.
        await this.#remove(await this.#inspectAtLast(worker.id, stop), stop);
      }
    }
  }

  /** Asked for once; again where that failed. */
  #ensureNetwork(stop: AbortSignal): Promise<void> {
    this.#network ??= this.#containers.ensureNetwork(stop).catch((error: unknown) => {
      this.#network = undefined;
      throw error;
    });
    return this.#network;
  }

  /**
   * Of a start that an outage broke off: the container, if it has been started (R6), and otherwise nothing of it is left.
   * Rejects where that cannot be known any more.
   */
  async #idOfBegun(workerId: string, stop: AbortSignal): Promise<string | undefined> {
    const info = await this.#inspectAtLast(workerId, stop);
    if (info === undefined) throw new Error("it was removed by somebody else while it was started");
    if (info.State.Status !== "created" || (await this.#containers.removeUnlessRunning(info.Id, stop))) return info.Id;
    return undefined;
  }

  /** Whether a start failed for its holder, which then is thrown away. */
  async #leaveHolder(worker: DockerWorker, error: unknown): Promise<boolean> {
    const { networkMode } = worker;
    worker.networkMode = undefined;
    if (networkMode === undefined || networkMode === this.#settings.network) return false;
    await this.#holders.discard(networkMode);
    return isMissingContainer(error) || /non running container/i.test(String(error));
  }

  protected forgotten(worker: DockerWorker): void {
    if (worker.networkMode !== undefined) this.#holders.giveBack(worker.networkMode);
    worker.networkMode = undefined;
  }

  protected async find(workerId: string): Promise<DockerWorker | undefined> {
    const info = await this.#inspectAtLast(workerId, this.closing.signal);
    const known = this.workers.get(workerId);
    if (info === undefined || known !== undefined) return known;
    const worker = this.trackFound(workerId);
    worker.networkMode = info.HostConfig.NetworkMode;
    return worker;
  }

  #hint({ action, workerId }: ContainerEvent): void {
    const worker = this.workers.get(workerId);
    if (worker === undefined) return;
    if (action === "oom") worker.sawOom = true;
    else void this.#look(worker);
  }

  /** Something may have happened to it: looks, and carries out its end. What fails is tried with the next comparison. */
  async #look(worker: DockerWorker): Promise<void> {
    if (!worker.isStarted || worker.isLooked || worker.ended !== undefined) return;
    worker.isLooked = true;
    try {
      const info = await this.#containers.inspect(worker.id, this.closing.signal);
      if (info === undefined || hasEnded(info.State.Status)) {
        worker.seen = info;
        await this.end(worker);
      } else if (worker.output === undefined) await this.#readOn(worker);
    } catch (err) {
      if (!this.closing.signal.aborted)
        this.#settings.log.debug({ err, workerId: worker.id }, "a worker was not found");
    } finally {
      worker.isLooked = false;
    }
  }

  protected async carryOut(worker: DockerWorker, wasStopped: boolean): Promise<ContainerEnd> {
    const { signal } = this.closing;
    const info = worker.seen ?? (await this.#inspectAtLast(worker.id, signal));
    const endedByItself = info !== undefined && hasEnded(info.State.Status);
    await this.#remove(info, signal);
    await Promise.race([worker.output, delay(LAST_OUTPUT_MS, undefined, { ref: false })]);
    return {
      exitCode: endedByItself ? info.State.ExitCode : undefined,
      oomKilled: worker.sawOom || info?.State.OOMKilled === true,
      wasStopped: wasStopped && !endedByItself,
      lastLines: worker.lastLines,
    };
  }

  /** Insists during outages. */
  #inspectAtLast(workerId: string, stop: AbortSignal): Promise<ContainerInspectInfo | undefined> {
    return this.#engine.insist(() => this.#containers.inspect(workerId, stop), stop);
  }

  /** Insists until it is gone. */
  async #remove(container: ContainerInspectInfo | undefined, stop: AbortSignal): Promise<void> {
    if (container === undefined) return;
    const { Id: id, Name: name } = container;
    const startedAt = performance.now();
    for (let attempt = 0; ; attempt += 1) {
      try {
        await this.#containers.remove(id, stop);
        return;
      } catch (err) {
        if (stop.aborted) throw err;
        if (performance.now() - startedAt > STUBBORN_MS) {
          this.#settings.log.error({ err, name }, "a container cannot be ended; its place stays taken");
        }
      }
      await backOff(attempt, stop);
    }
  }

  /** Until it ends, or this is closed: the stream of a worker that goes on elsewhere would keep the process alive. */
  #read(worker: DockerWorker, stream: Readable): void {
    const { signal } = this.closing;
    const leave = () => void stream.destroy();
    signal.addEventListener("abort", leave);
    stream.once("close", () => signal.removeEventListener("abort", leave));
    if (signal.aborted) leave();
    worker.output = readOutput(stream, (name, line) => this.heard(worker, name, line)).then(() => {
      worker.readSinceMs = Date.now();
      if (worker.ended !== undefined) return;
      worker.output = undefined;
      void this.#look(worker);
    });
  }

  /** The stream broke, with the engine or with an earlier scheduler, and the worker lives. */
  async #readOn(worker: DockerWorker): Promise<void> {
    this.#read(worker, await this.#containers.output(worker.id, worker.readSinceMs, this.closing.signal));
  }

  /** E1 */
  protected compare(): Promise<void> {
    this.#comparing ??= this.#compareNow()
      .catch((err: unknown) => {
        if (!this.closing.signal.aborted) this.#settings.log.warn({ err }, "the Docker engine does not answer");
      })
      .finally(() => {
        this.#comparing = undefined;
      });
    return this.#comparing;
  }

  async #compareNow(): Promise<void> {
    await this.#ensureNetwork(this.closing.signal);
    const containers = await this.#containers.list();
    this.#holders.compare(containers);
    const running = new Set(
      containers.flatMap(({ Labels, State }) => (State === "running" ? (Labels[LABELS.worker] ?? []) : [])),
    );
    for (const worker of this.workers.values()) {
      if (!running.has(worker.id) || worker.output === undefined) void this.#look(worker);
    }
  }
}
