/**
 * Carries reports and log lines to the invocation service: in order, many with one call, one call at a time, again until
 * they are taken. They go to the replica that leased what they are about, as long as it answers: it remembers what it leased,
 * and often has the one who watches. What no message can carry, or is refused as such, is not tried again: all that is behind
 * it would wait for ever.
 */
import { setTimeout as delay } from "node:timers/promises";
import {
  AppendLogsRequest,
  type DispatchServiceClient,
  type ExecutionReport,
  ReportExecutionsRequest,
} from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { LogLine } from "../../../gen/multinode/invocation/v1/log_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { Refusal } from "../../platform/errors.js";
import type { Logger } from "../../platform/log.js";
import { lineBytes, reportBytes, takeBatch, withoutContent } from "./report_sizes.js";

const MOST_REPORTS = 2_000;
const MOST_LINES = 5_000;
const RETRY_MS = 250;
/** How long an answer of a replica is waited for. To tell another the same changes nothing. */
const ANSWER_MS = 3_000;
/** How long a replica that did not answer is left alone. */
const PASSED_OVER_MS = 10_000;

type Taker = Pick<DispatchServiceClient, "reportExecutions" | "appendLogs">;

interface Waiting {
  readonly report: ExecutionReport;
  /** Called when the report is stored, or refused for this reason. */
  readonly settled: (refusal: string | undefined) => void;
}

export class Reporter {
  readonly #dispatch: Taker;
  readonly #log: Logger;
  /** The replica to go to first. */
  readonly #replica: Taker | undefined;
  #passedOverUntil = 0;
  #reports: Waiting[] = [];
  #lines: LogLine[] = [];
  #flushing: Promise<void> | undefined;
  #stopped = false;

  constructor(dispatch: Taker, log: Logger, replica?: Taker) {
    this.#dispatch = dispatch;
    this.#log = log;
    this.#replica = replica;
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
    const { promise: aborted, resolve: abort } = Promise.withResolvers<void>();
    signal.addEventListener("abort", () => abort());
    while (this.#flushing !== undefined && !signal.aborted) await Promise.race([this.#flushing, aborted]);
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
      const batch = takeBatch(this.#reports, MOST_REPORTS, ({ report }) => reportBytes(report));
      // All of them, since they came before the reports or travel as well before them.
      const waiting = this.#lines;
      this.#lines = [];
      while (waiting.length > 0) {
        if (!(await this.#sendLines(takeBatch(waiting, MOST_LINES, lineBytes)))) return;
      }
      if (batch.length > 0 && !(await this.#sendReports(batch))) return;
    }
  }

  /** Answers whether it was done; if not, this is stopped. */
  async #sendLines(lines: LogLine[]): Promise<boolean> {
    const answer = await this.#untilTaken(
      (taker, options) => taker.appendLogs({ lines }, options),
      () => AppendLogsRequest.encode({ lines }).finish().byteLength,
    );
    if (answer !== "refused") return answer !== undefined;
    if (lines.length > 1) return await inHalves(lines, (half) => this.#sendLines(half));
    this.#log.error({ executionId: lines[0]?.executionId }, "a line of log is refused, and is dropped");
    return true;
  }

  /** Answers whether it was done; if not, this is stopped. */
  async #sendReports(batch: readonly Waiting[]): Promise<boolean> {
    const reports = batch.map(({ report }) => report);
    const answer = await this.#untilTaken(
      (taker, options) => taker.reportExecutions({ reports }, options),
      () => ReportExecutionsRequest.encode({ reports }).finish().byteLength,
    );
    if (answer === undefined) return false;
    if (answer === "refused") {
      const [first] = batch;
      if (batch.length > 1 || first === undefined) return await inHalves(batch, (half) => this.#sendReports(half));
      return await this.#sendWithoutContent(first);
    }
    const refusals = new Map(answer.refusals.map(({ index, reason }) => [index, reason]));
    for (const [index, { settled }] of batch.entries()) settled(refusals.get(index));
    return true;
  }

  async #sendWithoutContent({ report, settled }: Waiting): Promise<boolean> {
    const { ref, event } = report;
    this.#log.error({ executionId: ref?.executionId, event: event?.$case }, "a report is refused");
    const failure = withoutContent(report);
    if (failure !== undefined) return await this.#sendReports([{ report: failure, settled }]);
    settled("ReportIsRefused");
    return true;
  }

  /** @param bytesOf size of the message: that it is too large is not said by its refusal in a way to rely on */
  async #untilTaken<T>(
    send: (taker: Taker, options: { signal?: AbortSignal }) => Promise<T>,
    bytesOf: () => number,
  ): Promise<T | "refused" | undefined> {
    while (!this.#stopped) {
      const replica = performance.now() < this.#passedOverUntil ? undefined : this.#replica;
      try {
        if (replica !== undefined) return await send(replica, { signal: AbortSignal.timeout(ANSWER_MS) });
        return await send(this.#dispatch, {});
      } catch (err) {
        const isBad = err instanceof Refusal && err.reason === "ParameterValidationError";
        if (isBad || bytesOf() > LIMITS.messageBytes) return "refused";
        this.#log.warn({ err }, "the invocation service did not take reports; they will be sent again");
        if (replica !== undefined) this.#passedOverUntil = performance.now() + PASSED_OVER_MS;
        else await delay(RETRY_MS);
      }
    }
    return undefined;
  }
}

/** A reporter for each replica that leases, and one for what none of them has leased here. */
export class Reporters {
  readonly #other: Reporter;
  readonly #ofReplicas: ReadonlyMap<Taker, Reporter>;

  constructor(dispatch: Taker, replicas: readonly Taker[], log: Logger) {
    this.#other = new Reporter(dispatch, log);
    this.#ofReplicas = new Map(replicas.map((replica) => [replica, new Reporter(dispatch, log, replica)]));
  }

  /** @param replica that has leased what is to be reported, if that is known: reports of one execution stay in order */
  of(replica: Taker | undefined): Reporter {
    return (replica && this.#ofReplicas.get(replica)) ?? this.#other;
  }

  async drain(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#other, ...this.#ofReplicas.values()].map((reporter) => reporter.drain(signal)));
  }
}

/** Sends one half after the other, as long as that is done. */
async function inHalves<T>(items: readonly T[], send: (half: T[]) => Promise<boolean>): Promise<boolean> {
  const middle = Math.ceil(items.length / 2);
  return (await send(items.slice(0, middle))) && (await send(items.slice(middle)));
}
