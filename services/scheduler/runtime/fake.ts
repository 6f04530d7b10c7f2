/**
 * Workers of this very process, for tests: each speaks to a scheduler as a worker does, by way of the worker's own
 * bookkeeping, and runs no code but does what a test tells it to.
 */
import type {
  AssignExecution,
  ConnectRequest,
  ConnectResponse,
  WorkerCommand,
  WorkerEvent,
} from "../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { encode } from "../../../sdk/typescript/src/values/codec.js";
import type { FirstWork } from "../../../sdk/typescript/src/worker/first_work.js";
import { Session } from "../../../sdk/typescript/src/worker/session.js";
import type { FakeImages } from "./fake_images.js";
import {
  type FoundWorker,
  ImageIsMissingError,
  type Runtime,
  type SharedRuntime,
  type WorkerExit,
  type WorkerResources,
  type WorkerSpec,
} from "./runtime.js";

/** The scheduler's side of `WorkerService.Connect`, for a worker that showed its token. */
export type Connect = (
  workerToken: string,
  requests: AsyncIterable<ConnectRequest>,
  signal: AbortSignal,
) => AsyncIterable<ConnectResponse>;

export interface FakeRuntimeSettings {
  readonly connect: Connect;
  /** What a worker does with an execution. Without it, it runs until a test ends it. */
  readonly run?: (execution: FakeExecution) => void;
  /** Where the workers are, if they outlive this runtime. Without it, they are this runtime's alone. */
  readonly engine?: FakeEngine;
  /** Who starts workers here. */
  readonly schedulerId?: string;
  readonly images?: FakeImages | undefined;
  /** Whether workers can be started with an execution. Default: no. */
  readonly takesFirstWork?: boolean | undefined;
  /** The machine's clock. Default: that of the process. */
  readonly now?: () => number;
}

/** What workers run on, which outlives its runtimes as a container engine does. */
export class FakeEngine {
  /** Those that exist, by their identifiers. */
  readonly workers = new Map<string, FakeWorker>();
  /** Every worker that ever existed, oldest first. */
  readonly history: FakeWorker[] = [];
  /** Schedulers that something is held open for. */
  readonly held = new Set<string>();
  readonly #exitListeners: ((exit: WorkerExit) => void)[] = [];

  /** Executions that run now, in the order in which they came. */
  get executions(): FakeExecution[] {
    return this.history.flatMap((worker) => (worker.exists ? worker.running : []));
  }

  add(worker: FakeWorker): void {
    this.workers.set(worker.id, worker);
    this.history.push(worker);
  }

  remove(exit: WorkerExit): void {
    if (!this.workers.delete(exit.workerId)) return;
    for (const listener of this.#exitListeners) listener(exit);
  }

  onExit(listener: (exit: WorkerExit) => void): void {
    this.#exitListeners.push(listener);
  }
}

/** How often a worker says that it lives. Tests let time pass more quickly. */
const BEAT_MS = 100;
/** How long a worker waits before it connects again by itself. */
const RECONNECT_MS = 5;

export class FakeRuntime implements Runtime, Omit<SharedRuntime, "survivesRestart"> {
  readonly name = "fake";
  readonly survivesRestart: boolean;
  readonly takesFirstWork: boolean;
  readonly workers: FakeEngine["workers"];
  readonly history: FakeEngine["history"];
  readonly images: FakeImages | undefined;
  readonly holders = {
    listSchedulers: async () => [...this.#engine.held],
    removeOf: async (schedulerId: string) => void this.#engine.held.delete(schedulerId),
  };
  /** Workers whose end is told here. */
  readonly #tracked = new Set<string>();
  /** Of those, the ones that are with another scheduler. */
  readonly #released = new Set<string>();
  readonly #engine: FakeEngine;
  /** Thrown by the next starts. */
  startError: Error | undefined;
  /** What becomes of workers that are started: they connect, never do, or end at once. */
  boot: "connects" | "hangs" | "ends" = "connects";
  /** Stops are not carried out before this settles. */
  stopGate: Promise<void> | undefined;
  readonly #settings: FakeRuntimeSettings;
  readonly #outputListeners: ((workerId: string, stream: "stdout" | "stderr", line: string) => void)[] = [];
  readonly #exitListeners: ((exit: WorkerExit) => void)[] = [];

  constructor(settings: FakeRuntimeSettings) {
    this.#settings = settings;
    this.images = settings.images;
    this.takesFirstWork = settings.takesFirstWork ?? false;
    this.survivesRestart = settings.engine !== undefined;
    this.#engine = settings.engine ?? new FakeEngine();
    this.workers = this.#engine.workers;
    this.history = this.#engine.history;
    this.#engine.onExit((exit) => {
      this.#released.delete(exit.workerId);
      if (!this.#tracked.delete(exit.workerId)) return;
      for (const listener of this.#exitListeners) listener(exit);
    });
  }

  /** Executions that run now, in the order in which they came. */
  get executions(): FakeExecution[] {
    return this.#engine.executions;
  }

  async start({ workerId, boot, image, resources, firstWork }: WorkerSpec): Promise<string> {
    if (this.startError !== undefined) throw this.startError;
    if (image !== undefined && ![...(this.images?.names.values() ?? [])].includes(image)) {
      throw new ImageIsMissingError(`there is no ${image}`);
    }
    const worker = new FakeWorker(workerId, boot.workerToken, this.#settings, (exit) => this.#engine.remove(exit));
    worker.image = image;
    worker.resources = resources;
    this.#tracked.add(workerId);
    this.#engine.add(worker);
    if (this.boot !== "ends" && firstWork !== undefined) worker.begin(firstWork);
    if (this.boot === "connects") worker.connect();
    if (this.boot === "ends") queueMicrotask(() => worker.die("exited with code 1"));
    return `fake ${this.history.length}`;
  }

  async limit(workerId: string, resources: WorkerResources): Promise<void> {
    const worker = this.workers.get(workerId);
    if (worker !== undefined) worker.resources = resources;
  }

  async stop(workerId: string): Promise<void> {
    const worker = this.workers.get(workerId);
    if (worker === undefined) return;
    worker.isStopping = true;
    await (worker.stopGate ?? this.stopGate);
    worker.die("was killed by SIGKILL");
  }

  async list(): Promise<string[]> {
    return [...this.workers.keys()];
  }

  async listInstallation(): Promise<FoundWorker[]> {
    return Array.from(this.workers.values(), ({ id, schedulerId, exists }) => ({
      workerId: id,
      schedulerId,
      hasEnded: !exists,
    }));
  }

  async adopt(workerId: string): Promise<boolean> {
    if (!this.workers.has(workerId)) return false;
    this.#tracked.add(workerId);
    this.#released.delete(workerId);
    return true;
  }

  release(workerId: string): void {
    this.#released.add(workerId);
  }

  onExit(listener: (exit: WorkerExit) => void): void {
    this.#exitListeners.push(listener);
  }

  onOutput(listener: (workerId: string, stream: "stdout" | "stderr", line: string) => void): void {
    this.#outputListeners.push(listener);
  }

  /** What the process of a worker prints, not by way of the SDK. */
  print(workerId: string, line: string): void {
    for (const listener of this.#outputListeners) listener(workerId, "stdout", line);
  }

  async close(): Promise<void> {
    const own = [...this.#tracked].filter((workerId) => !this.#released.has(workerId));
    await Promise.all(own.map((workerId) => this.stop(workerId)));
  }
}

export class FakeWorker {
  readonly id: string;
  /** Who started it. */
  readonly schedulerId: string;
  readonly commands: NonNullable<WorkerCommand["command"]>[] = [];
  resources: WorkerResources | undefined;
  /** Name of the image that it runs in; undefined: the standard one. */
  image: string | undefined;
  exists = true;
  /** Whether the runtime was asked to stop it. */
  isStopping = false;
  /** It is not stopped before this settles. */
  stopGate: Promise<void> | undefined;
  /** Drops the commands that come, as a connection does that is about to break. */
  isDeaf = false;
  connections = 0;
  readonly #token: string;
  readonly #settings: FakeRuntimeSettings;
  readonly #gone: (exit: WorkerExit) => void;
  readonly #session: Session;
  readonly #executions = new Map<string, FakeExecution>();
  #stream: { readonly outbox: Outbox; readonly ended: AbortController } | undefined;
  #isBound = false;
  #isWelcome = false;

  constructor(id: string, token: string, settings: FakeRuntimeSettings, gone: (exit: WorkerExit) => void) {
    this.id = id;
    this.schedulerId = settings.schedulerId ?? "";
    this.#token = token;
    this.#settings = settings;
    this.#gone = gone;
    this.#session = new Session(id, "fake/1");
  }

  get running(): FakeExecution[] {
    return [...this.#executions.values()].filter(({ id }) => this.#session.isRunning(id));
  }

  get owesEnds(): boolean {
    return this.#session.owesEnds;
  }

  /** Whether it has no scheduler: it is not connected, or was not welcomed yet. */
  get isAdrift(): boolean {
    return this.exists && !this.#isWelcome;
  }

  /** Begins with what it was started for. */
  begin({ notAfterMs, assign }: FirstWork): void {
    const { now = () => Date.now() } = this.#settings;
    if (now() > notAfterMs) return;
    this.#isBound = true;
    this.#assign({ ...assign, arguments: undefined });
  }

  /** Connects, also again after `disconnect`. */
  connect(): void {
    this.connections += 1;
    this.#isWelcome = false;
    const stream = { outbox: new Outbox(), ended: new AbortController() };
    this.#stream = stream;
    stream.outbox.push(this.#session.hello());
    const beats = setInterval(() => {
      if (this.#isWelcome) stream.outbox.push(this.#session.status(0));
    }, BEAT_MS);
    beats.unref();
    stream.ended.signal.addEventListener("abort", () => clearInterval(beats));
    void this.#listen(this.#settings.connect(this.#token, stream.outbox, stream.ended.signal), stream);
  }

  /** Another process that was started as the same worker. */
  twin(): FakeWorker {
    return new FakeWorker(this.id, this.#token, this.#settings, () => {});
  }

  /** Breaks the connection: neither side hears anything more on it. What runs goes on. */
  disconnect(): void {
    this.#stream?.outbox.close();
    this.#stream?.ended.abort();
    this.#stream = undefined;
    this.#isWelcome = false;
  }

  /** Says that it is about to end. */
  leave(): void {
    this.send(this.#session.leave());
  }

  /** Ends, as a process does. */
  die(description: string, outOfMemory = false): void {
    if (!this.exists) return;
    this.exists = false;
    this.disconnect();
    this.#gone({ workerId: this.id, description, outOfMemory });
  }

  send(events: readonly WorkerEvent[]): void {
    for (const event of events) this.#stream?.outbox.push(event);
  }

  yielded(executionId: string, index: number, value: unknown): void {
    this.send(this.#session.yielded(executionId, index, encode(value)));
  }

  ended(executionId: string, outcome: Parameters<Session["ended"]>[1], interrupted: boolean): void {
    this.send(this.#session.ended(executionId, outcome, interrupted));
  }

  async #listen(responses: AsyncIterable<ConnectResponse>, stream: { readonly ended: AbortController }): Promise<void> {
    try {
      for await (const { commands } of responses) {
        if (stream.ended.signal.aborted) return;
        for (const { command } of commands) if (command !== undefined && !this.isDeaf) this.#take(command);
      }
    } catch {
      // Not expected here: a worker of which the scheduler wants nothing more waits for its end.
    }
    // One that may outlive its scheduler looks for another, as a real one does.
    if (this.#settings.engine === undefined || stream.ended.signal.aborted || !this.exists) return;
    this.disconnect();
    setTimeout(() => {
      if (this.exists && this.#stream === undefined) this.connect();
    }, RECONNECT_MS);
  }

  #sayBegun(executionIds: readonly string[]): void {
    this.#session.began(executionIds);
    this.send(this.#session.takeStarts());
  }

  #assign(assigned: AssignExecution): void {
    const { executionId, executionToken } = assigned;
    const { begins, events } = this.#session.assign(executionId, executionToken);
    this.send(events);
    if (!begins) return;
    const execution = new FakeExecution(this, assigned);
    this.#executions.set(executionId, execution);
    if (this.#isBound) this.#sayBegun([executionId]);
    this.#settings.run?.(execution);
  }

  #take(command: NonNullable<WorkerCommand["command"]>): void {
    this.commands.push(command);
    switch (command.$case) {
      case "welcome":
        this.#isWelcome = true;
        this.send([...this.#session.resend(), this.#session.status(0)]);
        break;
      case "prepare":
        break;
      case "bind":
        if (this.#isBound) break;
        this.#isBound = true;
        this.#sayBegun(this.#session.runningIds());
        break;
      case "assign":
        this.#assign(command.value);
        break;
      case "interrupt":
        this.#executions.get(command.value.executionId)?.interrupt(command.value.reason);
        break;
      case "acknowledge":
        this.#session.acknowledgeEnded(command.value.executionIds);
        break;
      case "acknowledgeYielded":
        this.send(this.#session.acknowledgeYielded(command.value.executionIds));
        break;
    }
  }
}

/** An execution in a worker. */
export class FakeExecution {
  readonly id: string;
  readonly worker: FakeWorker;
  readonly assigned: AssignExecution;
  /** Reasons for which it was interrupted, as often as it was. */
  readonly interruptions: number[] = [];
  #yields = 0;

  constructor(worker: FakeWorker, assigned: AssignExecution) {
    this.worker = worker;
    this.assigned = assigned;
    this.id = assigned.executionId;
  }

  interrupt(reason: number): void {
    this.interruptions.push(reason);
  }

  yield(value: unknown): void {
    this.#yields += 1;
    this.worker.yielded(this.id, this.#yields, value);
  }

  return(value?: unknown): void {
    this.worker.ended(this.id, { kind: "returned", value: encode(value) }, this.interruptions.length > 0);
  }

  throw(error: string): void {
    this.worker.ended(this.id, { kind: "threw", error }, this.interruptions.length > 0);
  }
}

/** What a worker says, as the scheduler reads it. */
class Outbox implements AsyncIterable<ConnectRequest> {
  #events: WorkerEvent[] = [];
  #isClosed = false;
  #wake: (() => void) | undefined;

  push(event: WorkerEvent): void {
    this.#events.push(event);
    this.#wake?.();
  }

  /** What was not read is lost. */
  close(): void {
    this.#events = [];
    this.#isClosed = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ConnectRequest> {
    while (!this.#isClosed) {
      if (this.#events.length > 0) yield { events: this.#events.splice(0) };
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
