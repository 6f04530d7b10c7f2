/**
 * Workers on the nodes of a Docker Swarm, each a service in `replicated-job` mode (swarm_profile.ts). The engine of a manager
 * is spoken to, and Swarm chooses the node. Any number of schedulers share a Swarm.
 *
 * It isolates what the Docker runtime does, with these differences: workers reach each other by their network, a function
 * takes swap beside its memory where its node has some, and native addons cannot be loaded.
 *
 * W1. The tasks, as Swarm lists them, are the truth. What a worker prints only says it sooner.
 * W2. A worker has its limits for life: a task cannot be given others. So it is started for functions of one size.
 * W3. A worker is gone when none of its tasks can have a process. On a node that is down that is so when a worker whose
 *     scheduler does not answer has ended itself.
 * W4. An outage of the engine delays: what was asked for is asked for again until it is done or not wanted any more.
 * W5. Workers outlive their scheduler. Whoever comes next finds them by their labels.
 */
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { LIMITS, OPTION_LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import type { Logger } from "../../platform/log.js";
import { ContainerRuntime, KnownWorker, STUBBORN_MS } from "./container_runtime.js";
import { backOff, DockerEngine } from "./docker_engine.js";
import type { ContainerEnd } from "./docker_exit.js";
import { readOutput } from "./docker_output.js";
import type { FoundWorker, WorkerResources, WorkerSpec } from "./runtime.js";
import { type ProgramEnd, programEndIn, type SwarmSettings } from "./swarm_profile.js";
import { SwarmServices, type SwarmView } from "./swarm_services.js";
import { jobStateOf, whereAlive } from "./swarm_state.js";

export interface SwarmRuntimeSettings extends SwarmSettings {
  readonly socketPath: string;
  /** Bound of one call to the engine, in milliseconds. Default 30 s. */
  readonly callTimeoutMs?: number;
  /** How often the tasks of the Swarm are compared with what is known here, in milliseconds. Default 2 s. */
  readonly compareIntervalMs?: number;
  /** How long after its end was asked for a worker on a node that is down has ended itself. Default 20 s. */
  readonly fenceMs?: number;
  readonly log: Logger;
}

class SwarmWorker extends KnownWorker {
  /** What became of it last, for the error of a start that does not come to its end. */
  lastSeen = "nothing is known of it";
  /** How its program ended, as its first process says. */
  programEnd: ProgramEnd | undefined;
  /** How it ended, as Swarm says. */
  cause: string | undefined;
  output: Readable | "opening" | undefined;
}

/** What a worker gets that is started for nobody: enough for functions that ask for nothing else. */
export const USUAL_RESOURCES: WorkerResources = {
  cpu: OPTION_LIMITS.cpu.default,
  memoryBytes: OPTION_LIMITS.memoryBytes.default,
};
const COMPARE_INTERVAL_MS = 2_000;
/** Whoever waits for a change waits this long for the next look. */
const LOOK_MS = 150;

export class SwarmRuntime extends ContainerRuntime<SwarmWorker> {
  readonly name = "swarm";
  readonly fixedResources = USUAL_RESOURCES;
  readonly #settings: SwarmRuntimeSettings;
  readonly #services: SwarmServices;
  readonly #engine: DockerEngine;
  #nextView: Promise<SwarmView> | undefined;
  #isComparing = false;

  constructor(settings: SwarmRuntimeSettings) {
    const { schedulerId, compareIntervalMs = COMPARE_INTERVAL_MS } = settings;
    super({ schedulerId, compareIntervalMs });
    this.#settings = settings;
    this.#engine = new DockerEngine(settings);
    this.#services = new SwarmServices(this.#engine, settings);
  }

  /** W2 */
  async limit(): Promise<void> {}

  async listInstallation(): Promise<FoundWorker[]> {
    return await this.#services.list();
  }

  protected async closeRest(): Promise<void> {
    for (const worker of this.workers.values()) this.#stopReading(worker);
  }

  protected known(workerId: string): SwarmWorker {
    return new SwarmWorker(workerId);
  }

  protected created(worker: SwarmWorker): void {
    if (worker.programEnd !== undefined) this.#endSoon(worker);
  }

  /** Answers when its task runs. */
  protected async create(worker: SwarmWorker, { boot, resources }: WorkerSpec): Promise<string> {
    const stop = worker.stopping.signal;
    try {
      await this.#services.ensureNetwork(stop);
      await this.#services.create(worker.id, boot, resources ?? USUAL_RESOURCES, stop);
      void this.#read(worker);
      for (;;) {
        const { tasks, nodes } = await this.#engine.insist(() => this.#look(), stop);
        const state = jobStateOf(tasks.get(worker.id) ?? [], nodes);
        if (state.kind === "running") return `service on ${state.node}`;
        if (state.kind === "ended") throw new Error(state.description);
        if (state.kind === "coming" && state.description !== worker.lastSeen) {
          worker.lastSeen = state.description;
          const { id: workerId, lastSeen } = worker;
          if (state.isHeldUp) this.#settings.log.warn({ workerId, lastSeen }, "a worker waits for a node");
        }
      }
    } catch (error) {
      if (!stop.aborted) throw error;
      throw new Error(`it was stopped before it had started (${worker.lastSeen})`, { cause: error });
    }
  }

  protected forgotten(worker: SwarmWorker): void {
    this.#stopReading(worker);
  }

  protected async find(workerId: string): Promise<SwarmWorker | undefined> {
    const { signal } = this.closing;
    const all = await this.#engine.insist(() => this.#services.list(signal), signal);
    const known = this.workers.get(workerId);
    if (known !== undefined || !all.some((found) => found.workerId === workerId)) return known;
    const worker = this.trackFound(workerId);
    void this.#read(worker);
    return worker;
  }

  #endSoon(worker: SwarmWorker): void {
    this.end(worker).catch((err: unknown) => {
      this.#settings.log.debug({ err, workerId: worker.id }, "a worker is left to whoever finds it");
    });
  }

  protected async carryOut(worker: SwarmWorker, wasStopped: boolean): Promise<ContainerEnd> {
    await this.#remove(worker.id);
    const { programEnd, lastLines, cause } = worker;
    return {
      exitCode: programEnd?.exitCode,
      cause,
      oomKilled: programEnd?.oomKilled ?? false,
      wasStopped: wasStopped && programEnd === undefined,
      lastLines,
    };
  }

  /** Insists until it is gone. */
  async #remove(workerId: string): Promise<void> {
    const stop = this.closing.signal;
    const startedAt = performance.now();
    for (let attempt = 0; ; attempt += 1) {
      try {
        await this.#services.end(workerId, stop);
        await this.#untilGone(workerId, startedAt);
        await this.#services.remove(workerId, stop);
        return;
      } catch (err) {
        if (stop.aborted) throw err;
        this.#settings.log.error({ err, workerId }, "a worker cannot be ended; its place stays taken");
      }
      await backOff(attempt, stop);
    }
  }

  /** W3. Rejects when that takes long. */
  async #untilGone(workerId: string, startedAt: number): Promise<void> {
    for (const since = performance.now(); performance.now() - since < STUBBORN_MS; ) {
      const { tasks, nodes } = await this.#engine.insist(() => this.#look(), this.closing.signal);
      const where = whereAlive(tasks.get(workerId) ?? [], nodes);
      const isFenced = performance.now() - startedAt > (this.#settings.fenceMs ?? LIMITS.workerFenceMs);
      if (where === "nowhere" || (where === "out of reach" && isFenced)) return;
    }
    throw new Error(`it is still there after ${STUBBORN_MS} ms`);
  }

  /** A look at the Swarm that begins after this call. All who wait share it. */
  #look(): Promise<SwarmView> {
    this.#nextView ??= delay(LOOK_MS).then(() => {
      this.#nextView = undefined;
      return this.#services.look(this.closing.signal);
    });
    return this.#nextView;
  }

  /** W1 */
  protected async compare(): Promise<void> {
    if (this.#isComparing || this.workers.size === 0) return;
    this.#isComparing = true;
    try {
      const workers = [...this.workers.values()].filter(({ isStarted }) => isStarted);
      const { tasks, nodes } = await this.#look();
      for (const worker of workers) this.#see(worker, jobStateOf(tasks.get(worker.id) ?? [], nodes));
    } catch (err) {
      if (!this.closing.signal.aborted) this.#settings.log.warn({ err }, "the Swarm does not answer");
    } finally {
      this.#isComparing = false;
    }
  }

  #see(worker: SwarmWorker, state: ReturnType<typeof jobStateOf>): void {
    if (worker.ended !== undefined) return;
    if (worker.output === undefined) void this.#read(worker);
    if (state.kind === "ended") worker.cause = state.description;
    if (state.kind === "ended" || state.kind === "none") this.#endSoon(worker);
  }

  /** Reads what it prints until that breaks or it is gone. What fails is tried with the next comparison. */
  async #read(worker: SwarmWorker): Promise<void> {
    worker.output = "opening";
    try {
      const stream = await this.#services.output(worker.id, worker.readSinceMs, this.closing.signal);
      worker.output = stream;
      if (!this.workers.has(worker.id)) stream.destroy();
      await readOutput(stream, (name, line) => this.#print(worker, name, line));
    } catch (err) {
      this.#settings.log.debug({ err, workerId: worker.id }, "what a worker prints cannot be read");
    }
    worker.readSinceMs = Date.now();
    worker.output = undefined;
  }

  #print(worker: SwarmWorker, stream: "stdout" | "stderr", line: string): void {
    const programEnd = programEndIn(line);
    const own = programEnd?.rest ?? line;
    if (programEnd === undefined || own !== "") this.heard(worker, stream, own);
    if (programEnd === undefined) return;
    worker.programEnd = programEnd;
    if (worker.isStarted) this.#endSoon(worker);
  }

  #stopReading({ output }: SwarmWorker): void {
    if (output !== undefined && output !== "opening") output.destroy();
  }
}
