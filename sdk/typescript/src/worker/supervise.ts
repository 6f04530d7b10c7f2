import { writeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { receiveMessageOnPort } from "node:worker_threads";
import { InterruptReason } from "../../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type {
  AssignExecution,
  BindWorker,
  InterruptExecution,
  WorkerCommand,
  WorkerEvent,
  WorkerWelcome,
} from "../../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import type { Payload } from "../../../../gen/multinode/type/v1/payload.pb.js";
import { LIMITS, OPTION_LIMITS } from "../protocol/limits.js";
import type { TextPayload } from "../values/codec.js";
import type { BootConfig } from "./boot_config.js";
import { CodeSource } from "./code_source.js";
import { collectGarbage } from "./collect_garbage.js";
import { SchedulerConnection } from "./connection.js";
import { errorText } from "./error_text.js";
import { Fence, killOwnGroup } from "./fence.js";
import { interruptionError } from "./interruption.js";
import { LogShipper } from "./log_shipper.js";
import { watchMemory } from "./memory_watch.js";
import {
  BEGINNING,
  monotonicMs,
  posted,
  SENT_ALL,
  type SupervisorData,
  type ToMain,
  type ToSupervisor,
} from "./messages.js";
import { Session } from "./session.js";

const SDK = "typescript/0.1.0";
const STDERR_FD = 2;
/** How long the main thread may take to collect its garbage: user code may never give it back. */
const COLLECT_MS = 500;
/** How long the last words of a worker that used too much memory may take. */
const LAST_WORDS_MS = 500;
/** From the last write to the end of the process. */
const LINGER_MS = 10;
/** How long a start waits to be said with the end, which for a short function comes at once. */
const START_WAIT_MS = 3;
/** How long a worker whose code cannot be loaded waits for something that it can tell so: the next one may fare no better. */
const UNUSABLE_MS = 10_000;
/** Yielded values after which the main thread is told that they were taken. Below YIELDS_IN_FLIGHT. */
const YIELDS_PER_RECEIPT = 8;

export interface SupervisorOptions {
  /** How long the code may take to load. */
  readonly codeLoadMs?: number;
  /** Ends the worker, at once. */
  readonly die?: () => void;
}

/** Stands between the scheduler and the main thread: what one says is turned into what the other understands. */
export class Supervisor {
  readonly #data: SupervisorData;
  readonly #session: Session;
  readonly #logs = new LogShipper(() => this.#shipLogs());
  readonly #codeLoadMs: number;
  readonly #die: () => void;
  readonly #fence: Fence;
  readonly #connection: SchedulerConnection;
  readonly #code: CodeSource;
  #statusTimer: NodeJS.Timeout | undefined;
  #startTimer: NodeJS.Timeout | undefined;
  #loadTimer: NodeJS.Timeout | undefined;
  #fenceAfterMs: number = LIMITS.workerBootMs;
  #isBound = false;
  /** Whether it can run nothing, so that it ends once it has told so. */
  #isUnusable = false;
  #isDying = false;
  #takenYields = 0;
  #toMain: ToMain[] = [];
  readonly #endWaiters: (() => void)[] = [];
  #onCollected: (() => void) | undefined;

  constructor(
    data: SupervisorData,
    config: BootConfig,
    { codeLoadMs = LIMITS.codeLoadMs, die = killOwnGroup }: SupervisorOptions = {},
  ) {
    this.#data = data;
    this.#codeLoadMs = codeLoadMs;
    this.#die = die;
    this.#fence = new Fence(die);
    this.#session = new Session(config.workerId, SDK);
    this.#connection = new SchedulerConnection([config.schedulerUrl, ...config.otherUrls], config.workerToken, {
      hello: () => this.#session.hello(),
      onWelcome: (welcome) => this.#onWelcome(welcome),
      onCommands: (commands) => this.#onCommands(commands),
      onLost: () => this.#onLost(),
      mayMove: () => this.#session.holdsAny,
    });
    this.#code = new CodeSource(config, () => this.#connection.url);
  }

  start(): void {
    const { firstWork } = this.#data;
    if (firstWork !== undefined) {
      this.#fenceAfterMs = LIMITS.workerFenceMs;
      this.#isBound = true;
      this.#session.assign(firstWork.executionId, firstWork.executionToken);
      this.#watchLoading();
      this.#watchMemory(firstWork.memoryBytes);
    }
    this.#fence.up(this.#fenceAfterMs);
    this.#data.port.on("message", (messages: readonly ToSupervisor[]) => this.#onMainMessages(messages));
    this.#connection.open();
  }

  #onWelcome(welcome: WorkerWelcome): void {
    this.#fence.down();
    this.#fenceAfterMs = welcome.fenceAfterMs || LIMITS.workerFenceMs;
    this.#toMain.push({ kind: "server", apiUrl: welcome.apiUrl, maxPayloadBytes: welcome.maxPayloadBytes });
    this.#postToMain();
    this.#shipLogs();
    this.#send(this.#session.resend());
    clearInterval(this.#statusTimer);
    this.#statusTimer = setInterval(
      () => this.#sendStatus(),
      welcome.statusIntervalMs || LIMITS.workerStatusIntervalMs,
    );
    this.#sendStatus();
  }

  #onLost(): void {
    clearInterval(this.#statusTimer);
    this.#logs.takeBack();
    this.#fence.up(this.#fenceAfterMs - this.#connection.silentForMs);
  }

  #sendStatus(): void {
    this.#connection.send([this.#session.status(process.memoryUsage.rss())]);
  }

  #onCommands(commands: readonly WorkerCommand[]): void {
    for (const { command } of commands) {
      switch (command?.$case) {
        case "prepare":
          this.#code.prepare(command.value.digest);
          break;
        case "bind":
          void this.#bind(command.value);
          break;
        case "assign":
          this.#assign(command.value);
          break;
        case "interrupt":
          this.#interrupt(command.value);
          break;
        case "acknowledge":
          this.#session.acknowledgeEnded(command.value.executionIds);
          if (!this.#session.owesEnds) this.#wakeEndWaiters();
          this.#endIfUnusable();
          break;
        case "acknowledgeYielded":
          this.#send(this.#session.acknowledgeYielded(command.value.executionIds));
          break;
        case "welcome":
        case undefined:
          break;
      }
    }
    this.#postToMain();
  }

  async #bind(bind: BindWorker): Promise<void> {
    if (this.#isBound) return;
    this.#isBound = true;
    const code = await this.#code.of(bind);
    this.#toMain.push({
      kind: "bind",
      projectName: bind.projectName,
      versionId: bind.versionId,
      functionName: bind.function?.functionName ?? "",
      code,
      environment: bind.code?.environment ?? {},
    });
    this.#postToMain();
    if ("error" in code) return;
    this.#watchLoading();
    this.#watchMemory(bind.function?.options?.memoryBytes ?? OPTION_LIMITS.memoryBytes.default);
  }

  /** Here, since code that never finishes may never give the main thread back. */
  #watchLoading(): void {
    const error = `CodeLoadTimeoutError: the code did not finish loading within ${this.#codeLoadMs / 1_000} s`;
    this.#loadTimer = setTimeout(() => void this.#endAllAndDie(error), this.#codeLoadMs);
  }

  #watchMemory(limitBytes: number): void {
    watchMemory({
      limitBytes,
      residentBytes: () => process.memoryUsage.rss(),
      collect: () => this.#collect(),
      onExceeded: (error) => void this.#endAllAndDie(error),
    });
  }

  async #collect(): Promise<void> {
    this.#toMain.push({ kind: "collect" });
    this.#postToMain();
    collectGarbage();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, COLLECT_MS);
      this.#onCollected = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #assign(assign: AssignExecution): void {
    const { begins, events } = this.#session.assign(assign.executionId, assign.executionToken);
    this.#send(events);
    if (!begins) return;
    if (this.#isUnusable) this.#send(this.#session.leave());
    this.#toMain.push({
      kind: "assign",
      executionId: assign.executionId,
      invocationId: assign.invocationId,
      attemptNumber: assign.attemptNumber,
      parentInvocationId: assign.parentInvocationId,
      executionToken: assign.executionToken,
      beginBy: assign.beginWithinMs === undefined ? undefined : monotonicMs() + assign.beginWithinMs,
      arguments: {
        positional: ownPayload(assign.arguments?.positional),
        named: ownPayload(assign.arguments?.named),
      },
    });
  }

  #interrupt({ executionId, reason }: InterruptExecution): void {
    if (!this.#session.isRunning(executionId)) return;
    const kind = reason === InterruptReason.TIMED_OUT ? "timedOut" : "cancelled";
    this.#toMain.push({ kind: "interrupt", executionId, reason: kind });
    this.#postToMain();
    if (this.#mayBegin(executionId)) return;
    // The main thread would say the same, but code that is loading, or another execution, may have it for long.
    const error = errorText(interruptionError(kind));
    this.#send(this.#session.ended(executionId, { kind: "threw", error }, true));
  }

  /** Whether user code of what was interrupted just now has begun, or may begin all the same. */
  #mayBegin(executionId: string): boolean {
    if (Atomics.load(this.#data.flags, BEGINNING) === 1) return true;
    for (;;) {
      const received: { message: readonly ToSupervisor[] } | undefined = receiveMessageOnPort(this.#data.port);
      if (received === undefined) return this.#session.hasBegun(executionId);
      this.#onMainMessages(received.message);
    }
  }

  #onMainMessages(messages: readonly ToSupervisor[]): void {
    const events: WorkerEvent[] = [];
    for (const message of messages) {
      switch (message.kind) {
        case "loaded":
          clearTimeout(this.#loadTimer);
          if (!message.isUsable) events.push(...this.#leaveUnusable());
          break;
        case "began":
          this.#session.began(message.executionIds);
          this.#startTimer ??= setTimeout(() => this.#sendStarts(), START_WAIT_MS);
          break;
        case "yielded":
          this.#takenYields += 1;
          events.push(...this.#session.yielded(message.executionId, message.index, message.value));
          break;
        case "ended":
          events.push(...this.#session.ended(message.executionId, message.outcome, message.interrupted));
          break;
        case "lines":
          this.#logs.add(message.lines);
          break;
        case "leaving":
          events.push(...this.#session.leave());
          break;
        case "collected":
          this.#onCollected?.();
          break;
        case "exiting":
          void this.#sendAllForExit(events.splice(0));
          break;
      }
    }
    this.#send(events);
    if (this.#takenYields >= YIELDS_PER_RECEIPT) {
      this.#toMain.push({ kind: "yieldsTaken", count: this.#takenYields });
      this.#takenYields = 0;
    }
    this.#postToMain();
  }

  /** Its code cannot be loaded: all that it was given is told so, and another worker may fare better. */
  #leaveUnusable(): WorkerEvent[] {
    this.#isUnusable = true;
    if (this.#session.hasToEnd) return this.#session.leave();
    setTimeout(() => this.#endIfUnusable(), UNUSABLE_MS);
    return [];
  }

  #endIfUnusable(): void {
    if (this.#isUnusable && !this.#session.hasToEnd) this.#die();
  }

  #sendStarts(): void {
    clearTimeout(this.#startTimer);
    this.#startTimer = undefined;
    this.#send(this.#session.takeStarts());
  }

  /** Sends events; where they say that something ended, what it printed goes before them. */
  #send(events: readonly WorkerEvent[]): void {
    if (events.some(({ event }) => event?.$case === "ended")) this.#shipLogs();
    this.#connection.send(events);
  }

  /** Lines stay here while there is no connection. */
  #shipLogs(): void {
    if (this.#connection.isReady) this.#connection.send(this.#logs.take());
  }

  #postToMain(): void {
    if (this.#toMain.length === 0) return;
    this.#data.port.postMessage(this.#toMain);
    this.#toMain = [];
  }

  /** The main thread stands still until it is told that all was sent. */
  async #sendAllForExit(events: readonly WorkerEvent[]): Promise<void> {
    this.#send(events);
    this.#shipLogs();
    await this.#connection.flushed();
    await this.#endsAcknowledged();
    // What is with the operating system is still lost if the scheduler sees the end of the connection first.
    await delay(LINGER_MS);
    Atomics.store(this.#data.flags, SENT_ALL, 1);
    Atomics.notify(this.#data.flags, SENT_ALL);
  }

  /** Resolves once every end is acknowledged. The caller needs a bound of its own. */
  #endsAcknowledged(): Promise<void> {
    if (!this.#session.owesEnds) return Promise.resolve();
    return new Promise((resolve) => {
      this.#endWaiters.push(resolve);
    });
  }

  #wakeEndWaiters(): void {
    for (const wake of this.#endWaiters.splice(0)) wake();
  }

  async #endAllAndDie(error: string): Promise<void> {
    if (this.#isDying) return;
    this.#isDying = true;
    // For its runtime, which names the cause where these words do not arrive in time.
    say(error);
    setTimeout(this.#die, LAST_WORDS_MS);
    this.#send([...this.#session.leave(), ...this.#session.endAll(error)]);
    await this.#endsAcknowledged();
    this.#die();
  }
}

/** To the worker's own standard error. */
export function say(text: string): void {
  try {
    writeSync(STDERR_FD, `multinode worker: ${text}\n`);
  } catch {
    // Nobody reads it any more.
  }
}

function ownPayload(payload: Payload | undefined): TextPayload | undefined {
  return payload === undefined ? undefined : posted(payload);
}
