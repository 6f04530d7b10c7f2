import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import { currentExecution } from "../definition/context.js";
import type { DefinedFunction } from "../definition/function.js";
import { MultinodeError } from "../errors.js";
import { LIMITS } from "../protocol/limits.js";
import { collectGarbage } from "./collect_garbage.js";
import { Execution, type ExecutionHost, type ExecutionSettings } from "./execution.js";
import type { ExecutionLog } from "./execution_log.js";
import type { PreparedWork } from "./first_work.js";
import { loadFunction } from "./load_code.js";
import { BEGINNING, type BindMessage, type Flags, monotonicMs, SENT_ALL, type ToMain } from "./messages.js";
import { Outbox } from "./outbox.js";
import { YieldFlow } from "./yield_flow.js";

/** Taken here, because user code may replace the global with a fake one. */
const nextTurn = setImmediate;

/** Executions whose user code begins in one turn of the event loop. */
const BEGUN_AT_ONCE = 64;

/** How long a process that crashed, and one that exits, may take to say its last words. */
const CRASH_FLUSH_MS = 2_000;
const EXIT_FLUSH_MS = 200;

/** The main thread's half of a worker: loads the code and runs what is assigned, side by side. */
export class Runner {
  readonly #port: MessagePort;
  readonly #flags: Flags;
  readonly #outbox: Outbox;
  readonly #host: ExecutionHost;
  readonly #yieldFlow: YieldFlow;
  /** Those whose user code is to begin, once the code is there. */
  #toBegin: Execution[] = [];
  #isBeginning = false;
  /** Those that have not ended. */
  readonly #executions = new Map<string, Execution>();
  #settings: ExecutionSettings = {
    projectName: "",
    versionId: "",
    functionName: "",
    apiUrl: "",
    maxPayloadBytes: LIMITS.payloadBytes,
  };
  #loaded: { readonly target: DefinedFunction } | { readonly error: unknown } | undefined;
  #isLeaving = false;
  #exitFlushMs = EXIT_FLUSH_MS;

  constructor(port: MessagePort, flags: Flags) {
    this.#port = port;
    this.#flags = flags;
    this.#outbox = new Outbox(port);
    this.#yieldFlow = new YieldFlow(this.#outbox, () => {
      this.#receiveNow();
      this.#begin();
    });
    this.#host = {
      outbox: this.#outbox,
      yieldFlow: this.#yieldFlow,
      onEnded: (execution) => this.#executions.delete(execution.id),
    };
  }

  /** Does from now on what the supervisor says; what it said before has waited. */
  start(): void {
    this.#port.on("message", (messages: readonly ToMain[]) => {
      this.#handle(messages);
      this.#begin();
    });
  }

  /** Begins with what this worker was started for. */
  begin({ work, code }: PreparedWork): void {
    const { apiUrl, maxPayloadBytes, bind, assign, beginByMs } = work;
    const beginBy = beginByMs === undefined ? undefined : monotonicMs() + (beginByMs - Date.now());
    // It may be over before the supervisor has a connection.
    this.#exitFlushMs = CRASH_FLUSH_MS;
    this.#handle([
      { kind: "server", apiUrl, maxPayloadBytes },
      { kind: "bind", ...bind, code },
      { kind: "assign", ...assign, beginBy },
    ]);
  }

  /** The log for what is written here: of the execution that writes or, where that is not known, of the only one. */
  findLog(): ExecutionLog | undefined {
    const execution = currentExecution();
    if (execution !== undefined) return this.#executions.get(execution.context.executionId)?.log;
    if (this.#executions.size !== 1) return undefined;
    const [only] = this.#executions.values();
    return only?.log;
  }

  /**
   * An error that nobody caught: everything that runs ends with it, and then so does the process. What has not begun had no
   * part in it, unless it is the code that fails while it is loaded.
   */
  crash(error: unknown): void {
    this.#outbox.pushNow({ kind: "leaving" });
    for (const execution of this.#executions.values()) {
      if (this.#loaded === undefined || !execution.isWaiting) execution.fail(error);
    }
    this.#waitUntilSent(CRASH_FLUSH_MS);
    process.exit(1);
  }

  /** The process exits now, by user code's will: what was said before still gets out. */
  leave(): void {
    if (this.#isLeaving) return; // it crashed, and has said all that it had to
    // Code that ends its process while it is loaded does so in every worker: what waits for it is not to be given to others.
    if (this.#loaded !== undefined) this.#outbox.pushNow({ kind: "leaving" });
    for (const execution of this.#executions.values()) execution.log.flush();
    this.#waitUntilSent(this.#exitFlushMs);
  }

  #waitUntilSent(timeoutMs: number): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.#outbox.pushNow({ kind: "exiting" });
    // This thread stands still, so that user code does not go on.
    Atomics.wait(this.#flags, SENT_ALL, 0, timeoutMs);
  }

  /** Handles what has come, without beginning anything: its interruption may be the next message. */
  #receiveNow(): void {
    for (;;) {
      const received: { message: readonly ToMain[] } | undefined = receiveMessageOnPort(this.#port);
      if (received === undefined) return;
      this.#handle(received.message);
    }
  }

  #handle(messages: readonly ToMain[]): void {
    for (const message of messages) {
      switch (message.kind) {
        case "server":
          this.#settings = {
            ...this.#settings,
            apiUrl: message.apiUrl,
            maxPayloadBytes: message.maxPayloadBytes === 0 ? LIMITS.payloadBytes : message.maxPayloadBytes,
          };
          break;
        case "bind":
          void this.#bind(message);
          break;
        case "assign": {
          const execution = new Execution(message, this.#host);
          this.#executions.set(execution.id, execution);
          this.#toBegin.push(execution);
          break;
        }
        case "interrupt":
          this.#executions.get(message.executionId)?.interrupt(message.reason);
          break;
        case "yieldsTaken":
          this.#yieldFlow.taken(message.count);
          break;
        case "collect":
          collectGarbage();
          this.#outbox.push({ kind: "collected" });
          break;
      }
    }
  }

  async #bind({ projectName, versionId, functionName, code, environment }: BindMessage): Promise<void> {
    this.#settings = { ...this.#settings, projectName, versionId, functionName };
    try {
      if ("error" in code) throw new CodeIsUnavailableError(code.error);
      this.#loaded = { target: await loadFunction(code.folder, environment, functionName) };
    } catch (error) {
      this.#loaded = { error };
    }
    this.#outbox.pushNow({ kind: "loaded", isUsable: !("error" in this.#loaded) });
    this.#begin();
  }

  /** Runs what waits, if the code is there: some now, the rest in later turns, so that ends get out meanwhile. */
  #begin(): void {
    if (this.#loaded === undefined || this.#isBeginning || this.#toBegin.length === 0) return;
    Atomics.store(this.#flags, BEGINNING, 1);
    // While the code was loading, or other user code had the thread, some of them may have been interrupted.
    this.#receiveNow();
    const executions = this.#toBegin.splice(0, BEGUN_AT_ONCE);
    if (this.#toBegin.length > 0) {
      this.#isBeginning = true;
      nextTurn(() => {
        this.#isBeginning = false;
        this.#begin();
      });
    }
    const waiting = executions.filter((execution) => execution.isWaiting && !execution.isLate);
    if ("error" in this.#loaded) {
      for (const execution of waiting) execution.fail(this.#loaded.error);
    } else if (waiting.length > 0) {
      // Said before: user code may never give the thread back.
      this.#outbox.pushNow({ kind: "began", executionIds: waiting.map(({ id }) => id) });
    }
    Atomics.store(this.#flags, BEGINNING, 0);
    if ("error" in this.#loaded) return;
    for (const execution of waiting) void execution.run(this.#loaded.target, this.#settings);
  }
}

/** The bundle could not be fetched, or is not what it should be. */
class CodeIsUnavailableError extends MultinodeError {
  constructor(problem: string) {
    super("CodeIsUnavailableError", problem);
  }
}
