/**
 * Carries reports and log lines to the invocation service: in order, many with one call, one call at a time, again until
 * they are taken.
 */
import type { DispatchServiceClient, ExecutionReport } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { LogLine } from "../../gen/multinode/invocation/v1/log_service.pb.js";
import type { Logger } from "../platform/log.js";

const MOST_REPORTS = 2_000;
const MOST_LINES = 5_000;
const RETRY_MS = 250;

interface Waiting {
  readonly report: ExecutionReport;
  /** Called when the report is stored, or refused for this reason. */
  readonly settled: (refusal: string | undefined) => void;
}

export class Reporter {
  readonly #dispatch: Pick<DispatchServiceClient, "reportExecutions" | "appendLogs">;
  readonly #log: Logger;
  #reports: Waiting[] = [];
  #lines: LogLine[] = [];
  #flushing: Promise<void> | undefined;
  #stopped = false;

  constructor(dispatch: Pick<DispatchServiceClient, "reportExecutions" | "appendLogs">, log: Logger) {
    this.#dispatch = dispatch;
    this.#log = log;
  }

  report(report: ExecutionReport, settled: (refusal: string | undefined) => void): void {
    this.#reports.push({ report, settled });
    this.#flush();
  }

  /** Lines are stored before reports that come after them. */
  appendLines(lines: readonly LogLine[]): void {
    for (const line of lines) this.#lines.push(line);
    this.#flush();
  }

  /** Waits until everything is stored, or `signal` aborts. */
  async drain(signal: AbortSignal): Promise<void> {
    while (this.#flushing !== undefined && !signal.aborted) await this.#flushing;
    this.#stopped = true;
  }

  #flush(): void {
    this.#flushing ??= this.#run().finally(() => {
      this.#flushing = undefined;
      if (!this.#stopped && (this.#reports.length > 0 || this.#lines.length > 0)) this.#flush();
    });
  }

  async #run(): Promise<void> {
    await Promise.resolve(); // what is reported in this turn goes together
    while ((this.#reports.length > 0 || this.#lines.length > 0) && !this.#stopped) {
      const lines = this.#lines.splice(0, MOST_LINES);
      const batch = this.#reports.splice(0, MOST_REPORTS);
      if (lines.length > 0) await this.#untilTaken(() => this.#dispatch.appendLogs({ lines }));
      if (batch.length === 0) continue;
      const reports = batch.map(({ report }) => report);
      const answer = await this.#untilTaken(() => this.#dispatch.reportExecutions({ reports }));
      if (answer === undefined) return;
      const refusals = new Map(answer.refusals.map(({ index, reason }) => [index, reason]));
      for (const [index, { settled }] of batch.entries()) settled(refusals.get(index));
    }
  }

  async #untilTaken<T>(send: () => Promise<T>): Promise<T | undefined> {
    while (!this.#stopped) {
      try {
        return await send();
      } catch (err) {
        this.#log.warn({ err }, "the invocation service did not take reports; they will be sent again");
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
    return undefined;
  }
}
