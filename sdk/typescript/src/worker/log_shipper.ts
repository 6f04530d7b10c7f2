import type { LogLine } from "../../../../gen/multinode/invocation/v1/log_service.pb.js";
import type { WorkerEvent } from "../../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { LIMITS } from "../protocol/limits.js";

/** How long a line may wait for others to travel with. */
const GATHER_MS = 50;
const LINES_PER_EVENT = 500;
const TEXT_PER_EVENT = 256 * 1024;
/** Lines kept while there is no connection; the oldest are dropped above that. */
const MAX_WAITING_LINES = 50_000;

/** Size of the lines that are kept after they were sent, and what a line takes beside its text, in characters, roughly. */
const MAX_SENT_LENGTH = 1024 * 1024;
const LINE_LENGTH = 100;

interface SentLines {
  readonly lines: readonly LogLine[];
  readonly length: number;
  readonly sentAt: number;
}

/**
 * Gathers the lines of all executions, so that a function that prints much makes few messages.
 *
 * What was sent is kept while it may be on its way: a worker of which nothing arrives for `workerSilenceMs` is lost anyway.
 * Nobody says which lines have arrived, but they are numbered, so that the scheduler knows those that come twice.
 */
export class LogShipper {
  readonly #flush: () => void;
  #lines: LogLine[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sent: SentLines[] = [];
  readonly #now: () => number;

  /**
   * @param flush is called when lines have waited long enough; it is to `take` them
   * @param now monotonic milliseconds
   */
  constructor(flush: () => void, now = () => performance.now()) {
    this.#flush = flush;
    this.#now = now;
  }

  add(lines: readonly LogLine[]): void {
    for (const line of lines) this.#lines.push(line);
    if (this.#lines.length > MAX_WAITING_LINES) this.#lines.splice(0, this.#lines.length - MAX_WAITING_LINES);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#flush();
    }, GATHER_MS);
  }

  /** The connection is gone: what it may not have brought to its end waits again. */
  takeBack(): void {
    this.#forget();
    this.#lines = [...this.#sent.flatMap(({ lines }) => lines), ...this.#lines];
    this.#sent = [];
  }

  /** All lines that wait, as events. */
  take(): WorkerEvent[] {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const waiting = this.#lines;
    this.#lines = [];
    const events: WorkerEvent[] = [];
    const sentAt = this.#now();
    let lines: LogLine[] = [];
    let length = 0;
    const send = (): void => {
      events.push({ event: { $case: "logs", value: { lines } } });
      this.#sent.push({ lines, length: length + LINE_LENGTH * lines.length, sentAt });
    };
    for (const line of waiting) {
      if (lines.length >= LINES_PER_EVENT || length >= TEXT_PER_EVENT) {
        send();
        lines = [];
        length = 0;
      }
      lines.push(line);
      length += line.text.length;
    }
    if (lines.length > 0) send();
    this.#forget();
    return events;
  }

  #forget(): void {
    const since = this.#now() - LIMITS.workerSilenceMs;
    let length = 0;
    let first = this.#sent.length;
    for (const { length: more, sentAt } of this.#sent.toReversed()) {
      length += more;
      if (sentAt < since || length > MAX_SENT_LENGTH) break;
      first -= 1;
    }
    if (first > 0) this.#sent = this.#sent.slice(first);
  }
}
