/** The open stream of one worker: commands go out in order, those of one turn in one message. */
import type {
  BindWorker,
  ConnectResponse,
  WorkerCommand,
} from "../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { Refusal } from "../../platform/errors.js";

/** How long the worker may wait to hear that an end is stored, so that many are told at once and none wakes it alone. */
const ACKNOWLEDGE_MS = 5;

/** Commands, and ends, of which a worker has not read that they are stored. */
const MOST_WAITING = 100_000;

export class WorkerSession {
  #commands: WorkerCommand[] = [];
  #acknowledged: string[] = [];
  #acknowledgeTimer: NodeJS.Timeout | undefined;
  #isAcknowledgeDue = false;
  #isAnswerDue = false;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;
  #closed = false;
  #hasCode = false;
  #wasGreeted = false;

  /** Whether it was sent what it is bound to, and so can be given executions. */
  get hasCode(): boolean {
    return this.#hasCode;
  }

  /** The worker has said hello. Answers whether it had before. */
  greeted(): boolean {
    const before = this.#wasGreeted;
    this.#wasGreeted = true;
    return before;
  }

  /** Names code that it is about to be bound to, to be fetched meanwhile. */
  prepare(digest: string): void {
    this.send({ $case: "prepare", value: { digest } });
  }

  bind(bind: BindWorker): void {
    this.#hasCode = true;
    this.send({ $case: "bind", value: bind });
  }

  /** Answers whether it is sent: what is said before the stream ends goes out, unless the connection breaks. */
  send(command: NonNullable<WorkerCommand["command"]>): boolean {
    if (this.#closed || this.#isUnread(this.#commands)) return false;
    this.#commands.push({ command });
    this.#wake?.();
    return true;
  }

  /** Tells that the end of an execution is stored: at once, or with the next command or soon. */
  acknowledge(executionId: string, when: "at once" | "soon"): void {
    if (this.#closed || this.#isUnread(this.#acknowledged)) return;
    this.#acknowledged.push(executionId);
    if (when === "at once") {
      this.#isAcknowledgeDue = true;
      this.#wake?.();
      return;
    }
    this.#acknowledgeTimer ??= setTimeout(() => {
      this.#isAcknowledgeDue = true;
      this.#wake?.();
    }, ACKNOWLEDGE_MS);
  }

  /** Lets the worker know that its scheduler is there. */
  answer(): void {
    if (this.#closed) return;
    this.#isAnswerDue = true;
    this.#wake?.();
  }

  /** Ends the stream with this. */
  fail(error: Error): void {
    this.#failure = error;
    this.close();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#acknowledgeTimer);
    this.#wake?.();
  }

  /** Ends the stream of a worker that says much and reads nothing. */
  #isUnread(waiting: readonly unknown[]): boolean {
    if (waiting.length < MOST_WAITING) return false;
    this.#commands = [];
    this.fail(new Refusal("ResourceExhausted", "the worker does not read what it is told"));
    return true;
  }

  async *messages(signal: AbortSignal): AsyncGenerator<ConnectResponse, void> {
    const abort = () => this.close();
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    try {
      while (!this.#closed) {
        if (this.#commands.length === 0 && !this.#isAcknowledgeDue && !this.#isAnswerDue) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          this.#wake = undefined;
          continue;
        }
        yield { commands: this.#take() };
      }
      if (this.#failure !== undefined) throw this.#failure;
      // The worker takes what it was told along to another scheduler, which knows of it from the worker alone.
      if (this.#commands.length > 0) yield { commands: this.#take() };
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  #take(): WorkerCommand[] {
    const commands = this.#commands;
    this.#commands = [];
    if (this.#acknowledged.length > 0) {
      commands.push({ command: { $case: "acknowledge", value: { executionIds: this.#acknowledged } } });
      this.#acknowledged = [];
    }
    clearTimeout(this.#acknowledgeTimer);
    this.#acknowledgeTimer = undefined;
    this.#isAcknowledgeDue = false;
    this.#isAnswerDue = false;
    return commands;
  }
}
