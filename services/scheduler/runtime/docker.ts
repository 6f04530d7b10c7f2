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
import type { ContainerInfo, ContainerInspectInfo } from "dockerode";
import type { Logger } from "../../platform/log.js";
import { DockerContainers } from "./docker_containers.js";
import { backOff, DockerEngine, isMissingImage, isOutage } from "./docker_engine.js";
import { type ContainerEvent, followEvents } from "./docker_events.js";
import { describeExit } from "./docker_exit.js";
import { DockerHolders, schedulersWithHolders } from "./docker_holders.js";
import { DockerImages } from "./docker_images.js";
import { readOutput } from "./docker_output.js";
import { type ContainerSettings, LABELS } from "./docker_profile.js";
import {
  type FoundWorker,
  ImageIsMissingError,
  type RuntimeHolders,
  type SharedRuntime,
  type WorkerBoot,
  type WorkerExit,
  type WorkerResources,
  type WorkerSpec,
} from "./runtime.js";

export interface DockerRuntimeSettings extends ContainerSettings {
  readonly socketPath: string;
  /** Networks that are kept open for workers to come, at least. Default 4. */
  readonly readyNetworks?: number;
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

interface TrackedWorker {
  readonly id: string;
  /** Aborted when it is to end: a start that is under way gives up. */
  readonly stopping: AbortController;
  networkMode: string | undefined;
  /** Settles when its start is over, however. */
  started: Promise<void>;
  /** Whether its end is to be told: its start succeeded, or it was found. */
  isStarted: boolean;
  sawOom: boolean;
  isLooked: boolean;
  readonly lastLines: string[];
  /** Settles at the end of what it prints; undefined while nobody reads it. */
  output: Promise<void> | undefined;
  readSinceMs: number;
  ended: Promise<void> | undefined;
}

const READY_NETWORKS = 4;
const COMPARE_INTERVAL_MS = 5_000;
/** Lines that are kept to explain an end. */
const KEPT_LINES = 20;
/** How long the last of the output may take after the container's end. */
const LAST_OUTPUT_MS = 1_000;
/** A container that is not gone this long after it was killed is worth an error in the log, each time. */
const STUBBORN_MS = 30_000;
/** How long `close` waits for an engine that does not answer. What is left is found by its labels (E4). */
const CLOSE_MS = 15_000;
const CLOSE_HOLDERS_MS = 5_000;

export class DockerRuntime implements SharedRuntime {
  readonly name = "docker";
  readonly survivesRestart = true;
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
  readonly #workers = new Map<string, TrackedWorker>();
  /** With another scheduler by now. */
  readonly #released = new Set<string>();
  readonly #closing = new AbortController();
  readonly #exitListeners: ((exit: WorkerExit) => void)[] = [];
  readonly #outputListeners: ((workerId: string, stream: "stdout" | "stderr", line: string) => void)[] = [];
  readonly #timer: NodeJS.Timeout;
  #network: Promise<void> | undefined;
  #comparing: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(settings: DockerRuntimeSettings) {
    const { installationId, readyNetworks = READY_NETWORKS, compareIntervalMs = COMPARE_INTERVAL_MS, log } = settings;
    const engine = new DockerEngine(settings);
    this.#settings = settings;
    this.#engine = engine;
    const { buildNetwork } = settings;
    this.images = buildNetwork === undefined ? undefined : new DockerImages(engine, { ...settings, buildNetwork });
    this.#containers = new DockerContainers(engine, settings);
    this.#holders = new DockerHolders(engine, this.#containers, settings, readyNetworks, log);
    const handlers = { onEvent: (event: ContainerEvent) => this.#hint(event), onConnected: () => void this.#compare() };
    void followEvents(engine, installationId, handlers, this.#closing.signal);
    this.#timer = setInterval(() => void this.#compare(), compareIntervalMs);
  }

  /** Waits while the engine is away; rejects with what the engine refuses, or when the worker is stopped meanwhile. */
  async start({ workerId, boot, image = this.#settings.image }: WorkerSpec): Promise<string> {
    const worker = this.#track(workerId);
    const starting = this.#start(worker, boot, image);
    worker.started = starting.then(
      () => {},
      () => {},
    );
    try {
      const containerId = await starting;
      worker.isStarted = true;
      void this.#look(worker); // it may have ended before anybody listened
      return `container ${containerId.slice(0, 12)}`;
    } catch (error) {
      // What there is of it is found by its name (R1). A stop that is under way forgets it at its end.
      if (!worker.stopping.signal.aborted) this.#forget(worker);
      throw error;
    }
  }

  async limit(workerId: string, resources: WorkerResources): Promise<void> {
    const worker = this.#workers.get(workerId);
    const stop = worker?.stopping.signal ?? AbortSignal.abort();
    try {
      await this.#containers.limit(workerId, resources, stop);
    } catch (error) {
      if (!stop.aborted) throw error;
    }
  }

  /** Answers when the container is removed, which may take as long as the engine is away (E2). */
  async stop(workerId: string): Promise<void> {
    const worker = this.#workers.get(workerId) ?? (await this.#find(workerId));
    if (worker === undefined) return;
    worker.stopping.abort();
    await worker.started;
    await this.#end(worker, undefined);
  }

  async list(): Promise<string[]> {
    const { schedulerId } = this.#settings;
    const found = (await this.listInstallation()).filter(
      (worker) => worker.schedulerId === schedulerId || this.#workers.has(worker.workerId),
    );
    return found.map(({ workerId }) => workerId);
  }

  /** The workers of all schedulers of the installation, those of schedulers that are gone included (E4). */
  async listInstallation(): Promise<FoundWorker[]> {
    return workersIn(await this.#containers.list());
  }

  async adopt(workerId: string): Promise<boolean> {
    this.#released.delete(workerId);
    return this.#workers.has(workerId) || (await this.#find(workerId)) !== undefined;
  }

  release(workerId: string): void {
    if (this.#workers.has(workerId)) this.#released.add(workerId);
  }

  onExit(listener: (exit: WorkerExit) => void): void {
    this.#exitListeners.push(listener);
  }

  onOutput(listener: (workerId: string, stream: "stdout" | "stderr", line: string) => void): void {
    this.#outputListeners.push(listener);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    const bound = setTimeout(() => this.#closing.abort(), CLOSE_MS);
    const own = [...this.#workers.keys()].filter((workerId) => !this.#released.has(workerId));
    await Promise.allSettled(own.map((workerId) => this.stop(workerId)));
    this.#closing.abort();
    clearTimeout(bound);
    const holdersClosed = this.#holders.close().catch(() => {}); // the next scheduler finds them (H2)
    await Promise.race([holdersClosed, delay(CLOSE_HOLDERS_MS, undefined, { ref: false })]);
  }

  async #start(worker: TrackedWorker, boot: WorkerBoot, image: string): Promise<string> {
    const stop = worker.stopping.signal;
    for (let attempt = 0; ; attempt += 1) {
      try {
        this.#network ??= this.#containers.ensureNetwork(stop);
        await this.#network;
        const networkMode = this.#holders.take(this.#workers.size);
        worker.networkMode = networkMode;
        const { id, output } = await this.#containers.start(worker.id, boot, networkMode, stop, image);
        this.#read(worker, output);
        return id;
      } catch (error) {
        this.#network = undefined;
        if (stop.aborted) throw new Error("it was stopped before it had started", { cause: error });
        const isHoldersFault = await this.#leaveHolder(worker, error);
        if (image !== this.#settings.image && isMissingImage(error))
          throw new ImageIsMissingError(String(error), { cause: error });
        if (!isHoldersFault && !isOutage(error)) throw error;
        await backOff(attempt, stop);
        // What became of the attempt is not known: another one begins from nothing.
        await this.#remove(worker.id, stop);
      }
    }
  }

  /** Whether a start failed for its holder, which then is thrown away. */
  async #leaveHolder(worker: TrackedWorker, error: unknown): Promise<boolean> {
    const { networkMode } = worker;
    worker.networkMode = undefined;
    if (networkMode === undefined || networkMode === this.#settings.network) return false;
    await this.#holders.discard(networkMode);
    return /non running container|No such container/i.test(String(error));
  }

  #track(workerId: string): TrackedWorker {
    const worker: TrackedWorker = {
      id: workerId,
      stopping: new AbortController(),
      networkMode: undefined,
      started: Promise.resolve(),
      isStarted: false,
      sawOom: false,
      isLooked: false,
      lastLines: [],
      output: undefined,
      readSinceMs: Date.now(),
      ended: undefined,
    };
    this.#workers.set(workerId, worker);
    return worker;
  }

  #forget(worker: TrackedWorker): void {
    this.#released.delete(worker.id);
    if (this.#workers.get(worker.id) === worker) this.#workers.delete(worker.id);
    if (worker.networkMode !== undefined) this.#holders.giveBack(worker.networkMode);
    worker.networkMode = undefined;
  }

  /** A worker that exists and is not known here. */
  async #find(workerId: string): Promise<TrackedWorker | undefined> {
    const info = await this.#inspectAtLast(workerId);
    const known = this.#workers.get(workerId);
    if (info === undefined || known !== undefined) return known;
    const worker = this.#track(workerId);
    worker.networkMode = info.HostConfig.NetworkMode;
    worker.isStarted = true;
    return worker;
  }

  #hint({ action, workerId }: ContainerEvent): void {
    const worker = this.#workers.get(workerId);
    if (worker === undefined) return;
    if (action === "oom") worker.sawOom = true;
    else void this.#look(worker);
  }

  /** Something may have happened to it: looks, and carries out its end. What fails is tried with the next comparison. */
  async #look(worker: TrackedWorker): Promise<void> {
    if (!worker.isStarted || worker.isLooked || worker.ended !== undefined) return;
    worker.isLooked = true;
    try {
      const info = await this.#containers.inspect(worker.id, this.#closing.signal);
      if (info === undefined || hasEnded(info)) await this.#end(worker, info);
      else if (worker.output === undefined) await this.#readOn(worker);
    } catch (err) {
      if (!this.#closing.signal.aborted)
        this.#settings.log.debug({ err, workerId: worker.id }, "a worker was not found");
    } finally {
      worker.isLooked = false;
    }
  }

  #end(worker: TrackedWorker, info: ContainerInspectInfo | undefined): Promise<void> {
    worker.ended ??= this.#carryOut(worker, info);
    return worker.ended;
  }

  /** Ends by force whatever there is of a worker, and tells it when it is gone. */
  async #carryOut(worker: TrackedWorker, seen: ContainerInspectInfo | undefined): Promise<void> {
    const stop = this.#closing.signal;
    const wasStopped = worker.stopping.signal.aborted;
    worker.stopping.abort();
    const info = seen ?? (await this.#inspectAtLast(worker.id));
    const endedByItself = info !== undefined && hasEnded(info);
    await this.#remove(worker.id, stop);
    await Promise.race([worker.output, delay(LAST_OUTPUT_MS, undefined, { ref: false })]);
    this.#forget(worker);
    if (!worker.isStarted) return;
    const exit = describeExit({
      exitCode: endedByItself ? info.State.ExitCode : undefined,
      oomKilled: worker.sawOom || info?.State.OOMKilled === true,
      wasStopped: wasStopped && !endedByItself,
      lastLines: worker.lastLines,
    });
    for (const listener of this.#exitListeners) listener({ workerId: worker.id, ...exit }); // E3
  }

  /** Insists during outages. */
  async #inspectAtLast(workerId: string): Promise<ContainerInspectInfo | undefined> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.#containers.inspect(workerId, this.#closing.signal);
      } catch (error) {
        if (this.#closing.signal.aborted || !isOutage(error)) throw error;
        await backOff(attempt, this.#closing.signal);
      }
    }
  }

  async #remove(workerId: string, stop: AbortSignal): Promise<void> {
    const startedAt = performance.now();
    for (let attempt = 0; ; attempt += 1) {
      try {
        await this.#containers.remove(workerId, stop);
        return;
      } catch (err) {
        if (stop.aborted) throw err;
        if (performance.now() - startedAt > STUBBORN_MS) {
          this.#settings.log.error({ err, workerId }, "a container cannot be ended; its place stays taken");
        }
      }
      await backOff(attempt, stop);
    }
  }

  #read(worker: TrackedWorker, stream: Readable): void {
    worker.output = readOutput(stream, (name, line) => {
      worker.lastLines.push(line);
      if (worker.lastLines.length > KEPT_LINES) worker.lastLines.shift();
      for (const listener of this.#outputListeners) listener(worker.id, name, line);
    }).then(() => {
      worker.readSinceMs = Date.now();
      if (worker.ended !== undefined) return;
      worker.output = undefined;
      void this.#look(worker);
    });
  }

  /** The stream broke, with the engine or with an earlier scheduler, and the worker lives. */
  async #readOn(worker: TrackedWorker): Promise<void> {
    this.#read(worker, await this.#containers.output(worker.id, worker.readSinceMs, this.#closing.signal));
  }

  /** E1 */
  #compare(): Promise<void> {
    this.#comparing ??= this.#compareNow()
      .catch((err: unknown) => {
        if (!this.#closing.signal.aborted) this.#settings.log.warn({ err }, "the Docker engine does not answer");
      })
      .finally(() => {
        this.#comparing = undefined;
      });
    return this.#comparing;
  }

  async #compareNow(): Promise<void> {
    this.#network ??= this.#containers.ensureNetwork(this.#closing.signal);
    await this.#network;
    const containers = await this.#containers.list();
    this.#holders.compare(containers);
    const running = new Set(
      containers.flatMap(({ Labels, State }) => (State === "running" ? (Labels[LABELS.worker] ?? []) : [])),
    );
    for (const worker of this.#workers.values()) {
      if (!running.has(worker.id) || worker.output === undefined) void this.#look(worker);
    }
  }
}

function workersIn(containers: readonly ContainerInfo[]): FoundWorker[] {
  return containers.flatMap(({ Labels }) => {
    const { [LABELS.worker]: workerId, [LABELS.scheduler]: schedulerId } = Labels;
    return workerId !== undefined && schedulerId !== undefined ? [{ workerId, schedulerId }] : [];
  });
}

function hasEnded({ State }: ContainerInspectInfo): boolean {
  return State.Status === "exited" || State.Status === "dead";
}
