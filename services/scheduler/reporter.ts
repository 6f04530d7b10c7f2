/**
 * Carries reports and log lines to the invocation service: in order, many with one call, one call at a time, again until
 * they are taken. They go to the replica that leased what they are about, as long as it answers: it remembers what it leased,
 * and often has the one who watches.
 */
import type { DispatchServiceClient, ExecutionReport } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { LogLine } from "../../gen/multinode/invocation/v1/log_service.pb.js";
import type { Logger } from "../platform/log.js";

const MOST_REPORTS = 2_000;
const MOST_LINES = 5_000;
/** Content of one call, in bytes: what the invocation service takes of lines, and well below the largest message. */
const MOST_BYTES = 2 * 1024 * 1024;
/** What a report and a line take beside their content, in bytes, roughly. */
const ITEM_BYTES = 150;
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
      const batch = takeBatch(this.#reports, MOST_REPORTS, ({ report }) => sizeOf(report));
      // All of them, since they came before the reports or travel as well before them.
      const waiting = this.#lines;
      this.#lines = [];
      while (waiting.length > 0) {
        // A character takes up to three bytes.
        const lines = takeBatch(waiting, MOST_LINES, ({ text }) => ITEM_BYTES + 3 * text.length);
        if ((await this.#untilTaken((taker, options) => taker.appendLogs({ lines }, options))) === undefined) return;
      }
      if (batch.length === 0) continue;
      const reports = batch.map(({ report }) => report);
      const answer = await this.#untilTaken((taker, options) => taker.reportExecutions({ reports }, options));
      if (answer === undefined) return;
      const refusals = new Map(answer.refusals.map(({ index, reason }) => [index, reason]));
      for (const [index, { settled }] of batch.entries()) settled(refusals.get(index));
    }
  }

  async #untilTaken<T>(send: (taker: Taker, options: { signal?: AbortSignal }) => Promise<T>): Promise<T | undefined> {
    while (!this.#stopped) {
      const replica = performance.now() < this.#passedOverUntil ? undefined : this.#replica;
      try {
        if (replica !== undefined) return await send(replica, { signal: AbortSignal.timeout(ANSWER_MS) });
        return await send(this.#dispatch, {});
      } catch (err) {
        this.#log.warn({ err }, "the invocation service did not take reports; they will be sent again");
        if (replica !== undefined) this.#passedOverUntil = performance.now() + PASSED_OVER_MS;
        else await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
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

/** Takes the first items, at least one, up to the bounds. */
function takeBatch<T>(items: T[], mostItems: number, sizeOf: (item: T) => number): T[] {
  let count = 0;
  for (let bytes = 0; count < Math.min(items.length, mostItems); count++) {
    const item = items[count];
    if (item === undefined) break;
    bytes += sizeOf(item);
    if (bytes > MOST_BYTES && count > 0) break;
  }
  return items.splice(0, count);
}

function sizeOf({ event }: ExecutionReport): number {
  switch (event?.$case) {
    case "yielded":
      return ITEM_BYTES + (event.value.value?.data.byteLength ?? 0);
    case "ended": {
      const { result } = event.value;
      if (result?.$case === "returned") return ITEM_BYTES + (result.value.value?.data.byteLength ?? 0);
      return ITEM_BYTES + 3 * (result?.value.error.length ?? 0);
    }
    case "started":
    case "released":
    case "givenBack":
    case undefined:
      return ITEM_BYTES;
  }
}
