/**
 * What the runtimes share whose workers are containers and outlive their scheduler: which workers this one knows, how a
 * worker's life is carried from its start to its end, and who is told.
 */
import { type ContainerEnd, describeExit } from "./docker_exit.js";
import type { OutputLine } from "./docker_output.js";
import type { FoundWorker, SharedRuntime, WorkerExit, WorkerResources, WorkerSpec } from "./runtime.js";

/** A worker that this runtime started, or found. */
export class KnownWorker {
  readonly id: string;
  /** Aborted when it is to end: a start that is under way gives up. */
  readonly stopping = new AbortController();
  /** Settles when its start is over, however. */
  started: Promise<unknown> = Promise.resolve();
  /** Whether its end is to be told: its start succeeded, or it was found. */
  isStarted = false;
  /** The last of what it printed, to explain its end. */
  readonly lastLines: string[] = [];
  /** What it printed before this was read, in milliseconds since the epoch. */
  readSinceMs = Date.now();
  ended: Promise<void> | undefined;

  constructor(id: string) {
    this.id = id;
  }
}

export interface ContainerRuntimeSettings {
  readonly schedulerId: string;
  /** How often what exists is compared with what is known here, in milliseconds. */
  readonly compareIntervalMs: number;
}

const KEPT_LINES = 20;
/** A worker that is not gone this long after it was to end is worth an error in the log, each time. */
export const STUBBORN_MS = 30_000;
/** How long `close` waits for an engine that does not answer. What is left is found by its labels. */
const CLOSE_MS = 15_000;

export abstract class ContainerRuntime<W extends KnownWorker> implements SharedRuntime {
  abstract readonly name: string;
  readonly survivesRestart = true;
  protected readonly workers = new Map<string, W>();
  /** Aborted when nothing more is asked of the engine. */
  protected readonly closing = new AbortController();
  readonly #schedulerId: string;
  /** With another scheduler by now. */
  readonly #released = new Set<string>();
  readonly #exitListeners: ((exit: WorkerExit) => void)[] = [];
  readonly #outputListeners: ((workerId: string, ...line: Parameters<OutputLine>) => void)[] = [];
  readonly #timer: NodeJS.Timeout;
  #closed: Promise<void> | undefined;

  constructor({ schedulerId, compareIntervalMs }: ContainerRuntimeSettings) {
    this.#schedulerId = schedulerId;
    this.#timer = setInterval(() => void this.compare(), compareIntervalMs);
  }

  abstract limit(workerId: string, resources: WorkerResources): Promise<void>;
  abstract listInstallation(): Promise<readonly FoundWorker[]>;

  protected abstract known(workerId: string): W;
  /** Makes a worker run; answers what it is called. */
  protected abstract create(worker: W, spec: WorkerSpec): Promise<string>;
  /** It may have ended before anybody listened. */
  protected abstract created(worker: W): void;
  /** Whether a worker exists that is not known here, and what there is to know of it. */
  protected abstract find(workerId: string): Promise<W | undefined>;
  /** Ends by force whatever there is of a worker; answers how it ended when it is gone. */
  protected abstract carryOut(worker: W, wasStopped: boolean): Promise<ContainerEnd>;
  /** What was kept for a worker is not needed any more. */
  protected abstract forgotten(worker: W): void;
  /** Looks what became of all workers. Does not reject. */
  protected abstract compare(): Promise<void>;
  protected abstract closeRest(): Promise<void>;

  /** Waits while the engine is away; rejects with what the engine refuses, or when the worker is stopped meanwhile. */
  async start(spec: WorkerSpec): Promise<string> {
    const worker = this.track(spec.workerId);
    const creating = this.create(worker, spec);
    worker.started = creating.catch(() => {});
    try {
      const ref = await creating;
      worker.isStarted = true;
      this.created(worker);
      return ref;
    } catch (error) {
      // What there is of it is found by its name (R1). A stop that is under way forgets it at its end.
      if (!worker.stopping.signal.aborted) this.#forget(worker);
      throw error;
    }
  }

  /** Answers when it is gone, which may take as long as the engine is away. */
  async stop(workerId: string): Promise<void> {
    const worker = this.workers.get(workerId) ?? (await this.find(workerId));
    if (worker === undefined) return;
    worker.stopping.abort();
    await worker.started;
    await this.end(worker);
  }

  async list(): Promise<string[]> {
    const isOwn = ({ workerId, schedulerId }: FoundWorker) =>
      schedulerId === this.#schedulerId || this.workers.has(workerId);
    return (await this.listInstallation()).filter(isOwn).map(({ workerId }) => workerId);
  }

  async adopt(workerId: string): Promise<boolean> {
    this.#released.delete(workerId);
    return this.workers.has(workerId) || (await this.find(workerId)) !== undefined;
  }

  release(workerId: string): void {
    if (this.workers.has(workerId)) this.#released.add(workerId);
  }

  onExit(listener: (exit: WorkerExit) => void): void {
    this.#exitListeners.push(listener);
  }

  onOutput(listener: (workerId: string, ...line: Parameters<OutputLine>) => void): void {
    this.#outputListeners.push(listener);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer);
    const bound = setTimeout(() => this.closing.abort(), CLOSE_MS);
    const own = [...this.workers.keys()].filter((workerId) => !this.#released.has(workerId));
    await Promise.allSettled(own.map((workerId) => this.stop(workerId)));
    clearTimeout(bound);
    this.closing.abort();
    await this.closeRest();
  }

  protected track(workerId: string): W {
    const worker = this.known(workerId);
    this.workers.set(workerId, worker);
    return worker;
  }

  /** One that exists: its end is told. */
  protected trackFound(workerId: string): W {
    const worker = this.track(workerId);
    worker.isStarted = true;
    return worker;
  }

  /** Ends it, once, and tells how it ended when it is gone. What the engine refused may be asked for again. */
  protected end(worker: W): Promise<void> {
    worker.ended ??= this.#end(worker).catch((error: unknown) => {
      worker.ended = undefined;
      throw error;
    });
    return worker.ended;
  }

  async #end(worker: W): Promise<void> {
    const wasStopped = worker.stopping.signal.aborted;
    worker.stopping.abort();
    const end = await this.carryOut(worker, wasStopped);
    this.#forget(worker);
    if (!worker.isStarted) return;
    const exit = { workerId: worker.id, ...describeExit(end) };
    for (const listener of this.#exitListeners) listener(exit);
  }

  #forget(worker: W): void {
    this.#released.delete(worker.id);
    if (this.workers.get(worker.id) === worker) this.workers.delete(worker.id);
    this.forgotten(worker);
  }

  protected heard(worker: W, ...[stream, line]: Parameters<OutputLine>): void {
    worker.lastLines.push(line);
    if (worker.lastLines.length > KEPT_LINES) worker.lastLines.shift();
    for (const listener of this.#outputListeners) listener(worker.id, stream, line);
  }
}
