import {
  ConnectRequest,
  ConnectResponse,
  type WorkerCommand,
  type WorkerEvent,
  type WorkerWelcome,
} from "../../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { GrpcCall } from "./grpc_call.js";

export interface ConnectionHandlers {
  /** The first event of a connection. */
  readonly hello: () => WorkerEvent;
  /** A connection is ready: from now until `onLost` events are sent. */
  readonly onWelcome: (welcome: WorkerWelcome) => void;
  readonly onCommands: (commands: readonly WorkerCommand[]) => void;
  /** The connection is gone, or could not be made; another attempt follows by itself. */
  readonly onLost: () => void;
  /** Whether there is anything that another scheduler could take over. */
  readonly mayMove: () => boolean;
}

const CONNECT_PATH = "/multinode.scheduler.v1.WorkerService/Connect";

const FIRST_BACKOFF_MS = 50;
const LONGEST_BACKOFF_MS = 1_000;
/**
 * From the attempt to the welcome. A peer that accepts and then says nothing would hold us for ever. Who runs something
 * has less time, since another scheduler may take it over before the fence.
 */
const WELCOME_TIMEOUT_MS = 5_000;
const WELCOME_AGAIN_TIMEOUT_MS = 2_500;
/** Size at which a message to the scheduler is closed. */
const MESSAGE_BYTES = 1024 * 1024;
/** What an event and a line take beside their content, in bytes, roughly. */
const EVENT_BYTES = 100;

/**
 * The one stream of a worker, made again whenever it breaks, for ever. Events that are sent while there is none are
 * dropped: whoever holds the state says it again after the welcome.
 */
export class SchedulerConnection {
  readonly #urls: readonly string[];
  readonly #token: string;
  readonly #handlers: ConnectionHandlers;
  #call: GrpcCall | undefined;
  /** Which of the addresses is tried, or is connected to. */
  #at = 0;
  #isReady = false;
  #isBlocked = false;
  #backoffMs = FIRST_BACKOFF_MS;
  #timer: NodeJS.Timeout | undefined;
  #welcomeTimeoutMs = WELCOME_TIMEOUT_MS;
  /** How long the scheduler may say nothing. 0: for ever. */
  #silenceAfterMs = 0;
  #heardAt = performance.now();
  #queue: WorkerEvent[] = [];
  #isFlushScheduled = false;
  #unwritten = 0;
  #flushWaiters: (() => void)[] = [];

  /** @param urls "http://host:port", or "https://host:port" for TLS: of its own scheduler, and then of others */
  constructor(urls: readonly string[], token: string, handlers: ConnectionHandlers) {
    this.#urls = urls;
    this.#token = token;
    this.#handlers = handlers;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** Of the scheduler that it is connected to, or tries to reach. */
  get url(): string {
    return this.#urls[this.#at] ?? "";
  }

  /** Milliseconds since the scheduler was known to be there. */
  get silentForMs(): number {
    return performance.now() - this.#heardAt;
  }

  /** Begins to connect. */
  open(): void {
    const call = new GrpcCall(this.url, CONNECT_PATH, this.#token, {
      onMessage: (bytes) => this.#receive(call, bytes),
      onEnd: () => this.#lose(call),
      onDrain: () => {
        this.#isBlocked = false;
        this.#scheduleFlush();
      },
    });
    this.#call = call;
    this.#timer = setTimeout(() => this.#lose(call), this.#welcomeTimeoutMs);
    call.send(ConnectRequest.encode({ events: [this.#handlers.hello()] }).finish());
  }

  /** Sends events in this order, those of one turn of the event loop together. */
  send(events: readonly WorkerEvent[]): void {
    if (!this.#isReady || events.length === 0) return;
    for (const event of events) this.#queue.push(event);
    this.#scheduleFlush();
  }

  /**
   * Resolves once everything that was sent is with the operating system. Where the connection is gone, this waits for the
   * next one and for what is said again on it, so the caller needs a bound of its own.
   */
  flushed(): Promise<void> {
    return new Promise((resolve) => {
      this.#flushWaiters.push(resolve);
      this.#wakeFlushWaiters();
    });
  }

  #receive(call: GrpcCall, bytes: Buffer): void {
    if (call !== this.#call) return;
    const { commands } = ConnectResponse.decode(bytes);
    if (this.#isReady) {
      this.#heard(call);
      if (commands.length > 0) this.#handlers.onCommands(commands);
      return;
    }
    const [first, ...others] = commands;
    if (first?.command?.$case !== "welcome") {
      this.#lose(call);
      return;
    }
    this.#isReady = true;
    this.#backoffMs = FIRST_BACKOFF_MS;
    this.#welcomeTimeoutMs = WELCOME_AGAIN_TIMEOUT_MS;
    this.#silenceAfterMs = first.command.value.silenceAfterMs;
    this.#heard(call);
    this.#handlers.onWelcome(first.command.value);
    if (others.length > 0) this.#handlers.onCommands(others);
    this.#wakeFlushWaiters();
  }

  /** A proxy answers pings for a scheduler that stands still: only what the scheduler itself says counts. */
  #heard(call: GrpcCall): void {
    this.#heardAt = performance.now();
    clearTimeout(this.#timer);
    if (this.#silenceAfterMs > 0) this.#timer = setTimeout(() => this.#lose(call), this.#silenceAfterMs);
  }

  #lose(call: GrpcCall): void {
    if (call !== this.#call) return;
    this.#call = undefined;
    // One that answers nothing was there until now, as far as can be known.
    if (this.#isReady && this.#silenceAfterMs === 0) this.#heardAt = performance.now();
    // A scheduler that was there is tried again first; without executions no other one would take this worker.
    if (!this.#isReady) this.#at = this.#handlers.mayMove() ? (this.#at + 1) % this.#urls.length : 0;
    this.#isReady = false;
    this.#isBlocked = false;
    this.#queue = [];
    this.#unwritten = 0;
    clearTimeout(this.#timer);
    call.close();
    this.#handlers.onLost();
    // Half of the wait is random, so that the workers of a restarted scheduler do not come all at once.
    this.#timer = setTimeout(() => this.open(), this.#backoffMs * (0.5 + Math.random() / 2));
    this.#backoffMs = Math.min(this.#backoffMs * 2, LONGEST_BACKOFF_MS);
  }

  #scheduleFlush(): void {
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    setImmediate(() => this.#writeQueue());
  }

  #writeQueue(): void {
    this.#isFlushScheduled = false;
    const call = this.#call;
    let next = 0;
    while (call !== undefined && !this.#isBlocked && next < this.#queue.length) {
      const events: WorkerEvent[] = [];
      for (let sizeBytes = 0; sizeBytes < MESSAGE_BYTES && next < this.#queue.length; next += 1) {
        const event = this.#queue[next];
        if (event === undefined) break;
        events.push(event);
        sizeBytes += sizeOf(event);
      }
      this.#unwritten += 1;
      this.#isBlocked = !call.send(ConnectRequest.encode({ events }).finish(), () => this.#written(call));
    }
    this.#queue = next === this.#queue.length ? [] : this.#queue.slice(next);
  }

  #written(call: GrpcCall): void {
    if (call !== this.#call) return;
    this.#unwritten -= 1;
    this.#wakeFlushWaiters();
  }

  #wakeFlushWaiters(): void {
    if (!this.#isReady || this.#unwritten > 0 || this.#queue.length > 0) return;
    const waiters = this.#flushWaiters;
    this.#flushWaiters = [];
    for (const wake of waiters) wake();
  }
}

/** Size in bytes, roughly. */
function sizeOf({ event }: WorkerEvent): number {
  return EVENT_BYTES + contentSizeOf(event);
}

function contentSizeOf(event: WorkerEvent["event"]): number {
  switch (event?.$case) {
    case "yielded":
      return event.value.value?.data.byteLength ?? 0;
    case "ended": {
      const { result } = event.value;
      return result?.$case === "returned"
        ? (result.value.value?.data.byteLength ?? 0)
        : (result?.value.error.length ?? 0);
    }
    case "logs":
      return event.value.lines.reduce((sum, line) => sum + EVENT_BYTES + line.text.length, 0);
    case "hello":
    case "status":
    case "started":
    case "leaving":
    case undefined:
      return 0;
  }
}
