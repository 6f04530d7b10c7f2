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
import { backOff, DockerEngine } from "./docker_engine.js";
import { describeExit } from "./docker_exit.js";
import { readOutput } from "./docker_output.js";
import type { FoundWorker, SharedRuntime, WorkerExit, WorkerResources, WorkerSpec } from "./runtime.js";
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

interface TrackedWorker {
  readonly id: string;
  /** Aborted when it is to end: a start that is under way gives up. */
  readonly stopping: AbortController;
  /** Settles when its start is over, however. */
  started: Promise<unknown>;
  /** Whether its end is to be told: its start succeeded, or it was found. */
  isStarted: boolean;
  /** What became of it last, for the error of a start that does not come to its end. */
  lastSeen: string;
  /** How its program ended, as its first process says. */
  programEnd: ProgramEnd | undefined;
  readonly lastLines: string[];
  output: Readable | "opening" | undefined;
  readSinceMs: number;
  ended: Promise<void> | undefined;
}

/** What a worker gets that is started for nobody: enough for functions that ask for nothing else. */
export const USUAL_RESOURCES: WorkerResources = {
  cpu: OPTION_LIMITS.cpu.default,
  memoryBytes: OPTION_LIMITS.memoryBytes.default,
};
const COMPARE_INTERVAL_MS = 2_000;
/** Whoever waits for a change waits this long for the next look. */
const LOOK_MS = 150;
const KEPT_LINES = 20;
/** A worker that is not gone this long after it was to end is worth an error in the log, each time. */
const STUBBORN_MS = 30_000;
/** How long `close` waits for a Swarm that does not answer. What is left is found by its labels (W5). */
const CLOSE_MS = 15_000;

export class SwarmRuntime implements SharedRuntime {
  readonly name = "swarm";
  readonly survivesRestart = true;
  readonly fixedResources = USUAL_RESOURCES;
  readonly #settings: SwarmRuntimeSettings;
  readonly #services: SwarmServices;
  readonly #engine: DockerEngine;
  readonly #workers = new Map<string, TrackedWorker>();
  /** With another scheduler by now. */
  readonly #released = new Set<string>();
  readonly #closing = new AbortController();
  readonly #exitListeners: ((exit: WorkerExit) => void)[] = [];
  readonly #outputListeners: ((workerId: string, stream: "stdout" | "stderr", line: string) => void)[] = [];
  readonly #timer: NodeJS.Timeout;
  #nextView: Promise<SwarmView> | undefined;
  #isComparing = false;
  #closed: Promise<void> | undefined;

  constructor(settings: SwarmRuntimeSettings) {
    this.#settings = settings;
    this.#engine = new DockerEngine(settings);
    this.#services = new SwarmServices(this.#engine, settings);
    this.#timer = setInterval(() => void this.#compare(), settings.compareIntervalMs ?? COMPARE_INTERVAL_MS);
  }

  /** Answers when its task runs; rejects with what Swarm refuses, or when the worker is stopped meanwhile. */
  async start(spec: WorkerSpec): Promise<string> {
    const worker = this.#track(spec.workerId);
    const starting = this.#start(worker, spec);
    worker.started = starting.catch(() => {});
    try {
      const node = await starting;
      worker.isStarted = true;
      if (worker.programEnd !== undefined) this.#endSoon(worker);
      return `service on ${node}`;
    } catch (error) {
      // What there is of it is found by its name (R1). A stop that is under way forgets it at its end.
      if (!worker.stopping.signal.aborted) this.#forget(worker);
      throw error;
    }
  }

  /** W2 */
  async limit(): Promise<void> {}

  /** Answers when it is gone (W3), which may take as long as the engine is away (W4). */
  async stop(workerId: string): Promise<void> {
    const worker = this.#workers.get(workerId) ?? (await this.#find(workerId));
    if (worker === undefined) return;
    worker.stopping.abort();
    await worker.started;
    await this.#end(worker);
  }

  async list(): Promise<string[]> {
    const { schedulerId } = this.#settings;
    const isOwn = (found: FoundWorker) => found.schedulerId === schedulerId || this.#workers.has(found.workerId);
    return (await this.listInstallation()).filter(isOwn).map(({ workerId }) => workerId);
  }

  async listInstallation(): Promise<FoundWorker[]> {
    return await this.#services.list();
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
    clearTimeout(bound);
    this.#closing.abort();
    for (const worker of this.#workers.values()) this.#stopReading(worker);
  }

  async #start(worker: TrackedWorker, { boot, resources }: WorkerSpec): Promise<string> {
    const stop = worker.stopping.signal;
    try {
      await this.#services.ensureNetwork(stop);
      await this.#services.create(worker.id, boot, resources ?? USUAL_RESOURCES, stop);
      void this.#read(worker);
      for (;;) {
        const { tasks, nodes } = await this.#engine.insist(() => this.#look(), stop);
        const state = jobStateOf(tasks.get(worker.id) ?? [], nodes);
        if (state.kind === "running") return state.node;
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

  #track(workerId: string): TrackedWorker {
    const worker: TrackedWorker = {
      id: workerId,
      stopping: new AbortController(),
      started: Promise.resolve(),
      isStarted: false,
      lastSeen: "nothing is known of it",
      programEnd: undefined,
      lastLines: [],
      output: undefined,
      readSinceMs: Date.now(),
      ended: undefined,
    };
    this.#workers.set(workerId, worker);
    return worker;
  }

  #forget(worker: TrackedWorker): void {
    this.#stopReading(worker);
    this.#released.delete(worker.id);
    if (this.#workers.get(worker.id) === worker) this.#workers.delete(worker.id);
  }

  /** A worker that exists and is not known here. */
  async #find(workerId: string): Promise<TrackedWorker | undefined> {
    const { signal } = this.#closing;
    const all = await this.#engine.insist(() => this.#services.list(signal), signal);
    const known = this.#workers.get(workerId);
    if (known !== undefined || !all.some((found) => found.workerId === workerId)) return known;
    const worker = this.#track(workerId);
    worker.isStarted = true;
    void this.#read(worker);
    return worker;
  }

  /** @param description how it ended, where its program did not tell */
  #end(worker: TrackedWorker, description?: string): Promise<void> {
    worker.ended ??= this.#carryOut(worker, description);
    return worker.ended;
  }

  #endSoon(worker: TrackedWorker, description?: string): void {
    this.#end(worker, description).catch((err: unknown) => {
      this.#settings.log.debug({ err, workerId: worker.id }, "a worker is left to whoever finds it");
    });
  }

  /** Ends by force whatever there is of a worker, and tells it when it is gone. */
  async #carryOut(worker: TrackedWorker, description: string | undefined): Promise<void> {
    const wasStopped = worker.stopping.signal.aborted;
    worker.stopping.abort();
    await this.#remove(worker.id);
    this.#forget(worker);
    if (!worker.isStarted) return;
    const { programEnd, lastLines } = worker;
    const exit = describeExit({
      exitCode: programEnd?.exitCode,
      oomKilled: programEnd?.oomKilled ?? false,
      wasStopped: wasStopped && programEnd === undefined,
      lastLines,
    });
    const told = programEnd === undefined && description !== undefined ? { ...exit, description } : exit;
    for (const listener of this.#exitListeners) listener({ workerId: worker.id, ...told });
  }

  /** Insists until it is gone. */
  async #remove(workerId: string): Promise<void> {
    const stop = this.#closing.signal;
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
      const { tasks, nodes } = await this.#engine.insist(() => this.#look(), this.#closing.signal);
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
      return this.#services.look(this.#closing.signal);
    });
    return this.#nextView;
  }

  /** W1 */
  async #compare(): Promise<void> {
    if (this.#isComparing || this.#workers.size === 0) return;
    this.#isComparing = true;
    try {
      const workers = [...this.#workers.values()].filter(({ isStarted }) => isStarted);
      const { tasks, nodes } = await this.#look();
      for (const worker of workers) this.#see(worker, jobStateOf(tasks.get(worker.id) ?? [], nodes));
    } catch (err) {
      if (!this.#closing.signal.aborted) this.#settings.log.warn({ err }, "the Swarm does not answer");
    } finally {
      this.#isComparing = false;
    }
  }

  #see(worker: TrackedWorker, state: ReturnType<typeof jobStateOf>): void {
    if (worker.ended !== undefined) return;
    if (worker.output === undefined) void this.#read(worker);
    if (state.kind === "ended") this.#endSoon(worker, state.description);
    else if (state.kind === "none") this.#endSoon(worker);
  }

  /** Reads what it prints until that breaks or it is gone. What fails is tried with the next comparison. */
  async #read(worker: TrackedWorker): Promise<void> {
    worker.output = "opening";
    try {
      const stream = await this.#services.output(worker.id, worker.readSinceMs, this.#closing.signal);
      worker.output = stream;
      if (!this.#workers.has(worker.id)) stream.destroy();
      await readOutput(stream, (name, line) => this.#heard(worker, name, line));
    } catch (err) {
      this.#settings.log.debug({ err, workerId: worker.id }, "what a worker prints cannot be read");
    }
    worker.readSinceMs = Date.now();
    worker.output = undefined;
  }

  #heard(worker: TrackedWorker, stream: "stdout" | "stderr", line: string): void {
    const programEnd = programEndIn(line);
    const own = programEnd?.rest ?? line;
    if (programEnd === undefined || own !== "") {
      worker.lastLines.push(own);
      if (worker.lastLines.length > KEPT_LINES) worker.lastLines.shift();
      for (const listener of this.#outputListeners) listener(worker.id, stream, own);
    }
    if (programEnd === undefined) return;
    worker.programEnd = programEnd;
    if (worker.isStarted) this.#endSoon(worker);
  }

  #stopReading({ output }: TrackedWorker): void {
    if (output !== undefined && output !== "opening") output.destroy();
  }
}
