import type { LogLine } from "../../../../gen/multinode/invocation/v1/log_service.pb.js";
import type { WorkerEvent } from "../../../../gen/multinode/scheduler/v1/worker_service.pb.js";

/** How long a line may wait for others to travel with. */
const GATHER_MS = 50;
const LINES_PER_EVENT = 500;
const TEXT_PER_EVENT = 256 * 1024;
/** Lines kept while there is no connection; the oldest are dropped above that. */
const MAX_WAITING_LINES = 50_000;

/** Gathers the lines of all executions, so that a function that prints much makes few messages. */
export class LogShipper {
  readonly #flush: () => void;
  #lines: LogLine[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** @param flush is called when lines have waited long enough; it is to `take` them */
  constructor(flush: () => void) {
    this.#flush = flush;
  }

  add(lines: readonly LogLine[]): void {
    for (const line of lines) this.#lines.push(line);
    if (this.#lines.length > MAX_WAITING_LINES) this.#lines.splice(0, this.#lines.length - MAX_WAITING_LINES);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#flush();
    }, GATHER_MS);
  }

  /** All lines that wait, as events. */
  take(): WorkerEvent[] {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const waiting = this.#lines;
    this.#lines = [];
    const events: WorkerEvent[] = [];
    let lines: LogLine[] = [];
    let length = 0;
    for (const line of waiting) {
      if (lines.length >= LINES_PER_EVENT || length >= TEXT_PER_EVENT) {
        events.push({ event: { $case: "logs", value: { lines } } });
        lines = [];
        length = 0;
      }
      lines.push(line);
      length += line.text.length;
    }
    if (lines.length > 0) events.push({ event: { $case: "logs", value: { lines } } });
    return events;
  }
}
