/** What workers say, and what is made of it. */
import type { ExecutionEnded } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { type LogLine, LogStream } from "../../../gen/multinode/invocation/v1/log_service.pb.js";
import type {
  ConnectRequest,
  ConnectResponse,
  WorkerEvent,
  WorkerExecutionEnded,
  WorkerExecutionYielded,
  WorkerHello,
} from "../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { badRequest, permissionDenied, Refusal } from "../../platform/errors.js";
import { outputSizeError } from "../../platform/output_size.js";
import { retire, type Takeover } from "../leases/takeover.js";
import type { Run } from "../run.js";
import type { Scheduler } from "../scheduler.js";
import { boundedLine, boundedPayload, boundedResult } from "./worker_bounds.js";
import type { PooledWorker } from "./worker_pool.js";
import { WorkerSession } from "./worker_session.js";

const PROTOCOL_VERSION = 1;
/** Above what our worker numbers. */
const MOST_LINES = 2 * LIMITS.logLinesPerExecution;

export class WorkerTraffic {
  readonly #scheduler: Scheduler;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  /** One connection of a worker. */
  async *connect(
    workerId: string,
    requests: AsyncIterable<ConnectRequest>,
    signal: AbortSignal,
  ): AsyncGenerator<ConnectResponse, void> {
    const { takeover, pool } = this.#scheduler;
    const all = takeover === undefined ? requests : await this.#claim(takeover, workerId, requests, signal);
    const worker = pool.workers.get(workerId);
    // One that this scheduler has given up is to end; it ends itself when it may not connect.
    if (worker === undefined || worker.phase === "stopping")
      throw permissionDenied(`worker ${workerId} is not expected`);
    const session = new WorkerSession();
    worker.session?.close();
    worker.session = session;
    void this.#read(worker, session, all);
    try {
      yield* session.messages(signal);
    } finally {
      if (worker.session === session) worker.session = undefined;
      worker.heardAt = this.#scheduler.monotonic();
    }
  }

  /** What a worker brings to a connection is claimed before anything else; answers all that it says, from the first. */
  async #claim(
    takeover: Takeover,
    workerId: string,
    requests: AsyncIterable<ConnectRequest>,
    signal: AbortSignal,
  ): Promise<AsyncIterable<ConnectRequest>> {
    const rest = requests[Symbol.asyncIterator]();
    const first = await rest.next();
    if (first.done) throw permissionDenied(`worker ${workerId} said nothing`);
    const [hello] = first.value.events;
    const { executions = [], instance = "" } = hello?.event?.$case === "hello" ? hello.event.value : {};
    this.#refuseOther(workerId, instance);
    await takeover.claim(workerId, executions, signal);
    this.#refuseOther(workerId, instance);
    return (async function* () {
      yield first.value;
      yield* { [Symbol.asyncIterator]: () => rest };
    })();
  }

  /**
   * An engine that failed in the middle of a start may have started two processes as one worker, and may know of the second
   * alone. What one of them runs, the other is not to run as well.
   */
  #refuseOther(workerId: string, instance: string): void {
    const worker = this.#scheduler.pool.workers.get(workerId);
    if (worker === undefined || instance === "") return;
    worker.instance ??= instance;
    if (worker.instance === instance) return;
    this.#scheduler.settings.log.warn({ workerId }, "a second process has come as one worker, and is refused");
    throw permissionDenied(`another process has come as worker ${workerId}`);
  }

  /** A line that a worker's process printed, not by way of the SDK: of its only execution, if it has just one. */
  workerPrinted(workerId: string, stream: "stdout" | "stderr", line: string): void {
    const worker = this.#scheduler.pool.workers.get(workerId);
    this.#scheduler.settings.log.debug({ workerId, stream, line }, "a worker printed");
    const [executionId = worker?.last, ...others] = worker?.running ?? [];
    if (executionId === undefined || others.length > 0) return;
    const run = this.#scheduler.runs.get(executionId);
    if (run === undefined || run.printedLines >= LIMITS.logLinesPerExecution) return;
    run.printedLines += 1;
    const lineNumber = run.workerLines + run.printedLines;
    const logStream = stream === "stdout" ? LogStream.STDOUT : LogStream.STDERR;
    this.#append(run, {
      executionId,
      lineNumber,
      timeMs: Date.now(),
      stream: logStream,
      text: line,
      level: "",
      printed: true,
    });
  }

  async #read(worker: PooledWorker, session: WorkerSession, requests: AsyncIterable<ConnectRequest>): Promise<void> {
    try {
      for await (const { events } of requests) {
        if (worker.phase === "stopping") continue; // what it says counts no more
        worker.heardAt = this.#scheduler.monotonic();
        if (worker.isInDoubt) {
          worker.isInDoubt = false;
          this.#scheduler.wake();
        }
        for (const { event } of events) this.#take(worker, session, event);
      }
    } catch (err) {
      this.#scheduler.settings.log.debug({ err, workerId: worker.id }, "a worker's stream broke");
    }
    session.close();
  }

  #take(worker: PooledWorker, session: WorkerSession, event: WorkerEvent["event"]): void {
    switch (event?.$case) {
      case "hello":
        this.#hello(worker, session, event.value);
        break;
      case "started": {
        const run = this.#run(worker, event.value.executionId);
        if (run === undefined || run.isStartReported) break;
        run.isStartReported = true;
        const started = { workerId: worker.id };
        this.#scheduler.reporters
          .of(run.lessor)
          .report({ ref: run.ref, event: { $case: "started", value: started } }, () => {});
        break;
      }
      case "yielded":
        this.#yielded(worker, session, event.value);
        break;
      case "ended":
        this.#ended(worker, session, event.value);
        break;
      case "logs":
        for (const line of event.value.lines) {
          const run = this.#run(worker, line.executionId);
          // Those that it may have missed come again on another connection.
          if (run === undefined || line.lineNumber <= run.workerLines || line.lineNumber > MOST_LINES) continue;
          run.workerLines = line.lineNumber;
          // The worker numbers its own lines; those that were printed beside them have moved these up.
          this.#append(run, { ...line, lineNumber: line.lineNumber + run.printedLines });
        }
        break;
      case "leaving":
        worker.isLeaving = true;
        retire(worker);
        this.#scheduler.wake(); // it may have nothing that ends
        break;
      case "status":
        worker.memoryBytes = event.value.memoryBytes;
        this.#scheduler.takeover?.heard(worker, event.value.executionIds);
        if (this.#scheduler.leases.isTrusted) session.answer();
        break;
      case undefined:
        break;
    }
  }

  #hello(worker: PooledWorker, session: WorkerSession, hello: WorkerHello): void {
    const { apiUrl, payloadBytes } = this.#scheduler.settings;
    if (hello.executions.length > 0 && !this.#scheduler.leases.isTrusted) {
      // They may be another scheduler's by now: what is not known to be ours is not welcome.
      session.fail(new Refusal("Unavailable", "the lease of this scheduler is not fresh"));
      return;
    }
    if (session.greeted()) {
      session.fail(badRequest([{ field: "events", description: "holds a second hello on one stream" }]));
      return;
    }
    const { sdk, protocolVersion } = hello;
    this.#scheduler.settings.log.debug({ workerId: worker.id, sdk, protocolVersion }, "a worker has come");
    session.send({
      $case: "welcome",
      value: {
        protocolVersion: Math.min(PROTOCOL_VERSION, hello.protocolVersion),
        statusIntervalMs: LIMITS.workerStatusIntervalMs,
        fenceAfterMs: LIMITS.workerFenceMs,
        maxPayloadBytes: payloadBytes,
        apiUrl: apiUrl(),
        silenceAfterMs: LIMITS.schedulerSilenceMs,
      },
    });
    // What was to be interrupted while the connection was broken.
    for (const { executionId } of hello.executions) {
      const run = this.#run(worker, executionId);
      if (run?.interrupt === undefined) continue;
      session.send({ $case: "interrupt", value: { executionId, reason: run.interrupt.reason } });
    }
    this.#scheduler.connected(worker, new Set(hello.executions.map(({ executionId }) => executionId)));
  }

  /** Reports the newest value that an execution yielded, unless it is reported. */
  reportYield(run: Run): void {
    const { ref, nextYield } = run;
    if (nextYield === undefined) return;
    run.nextYield = undefined;
    run.isYieldUnderWay = true;
    this.#scheduler.reporters.of(run.lessor).report({ ref, event: { $case: "yielded", value: nextYield } }, () => {
      run.isYieldUnderWay = false;
      this.reportYield(run);
      const { session } = this.#scheduler.pool.workers.get(run.workerId ?? "") ?? {};
      session?.send({ $case: "acknowledgeYielded", value: { executionIds: [ref.executionId] } });
    });
  }

  #yielded(worker: PooledWorker, session: WorkerSession, { executionId, index, value }: WorkerExecutionYielded): void {
    const run = this.#run(worker, executionId);
    if (run === undefined) return;
    const error = outputSizeError(value, this.#scheduler.settings.payloadBytes, "yielded value");
    if (error !== undefined) {
      const result = { $case: "threw", value: { error } } as const;
      this.#ended(worker, session, { executionId, result, interrupted: false, started: false });
      return;
    }
    // One at a time is under way, as a worker sends them but for the last before an end; what comes meanwhile is merged into
    // the newest.
    run.nextYield = { index, value: boundedPayload(value) };
    if (!run.isYieldUnderWay) this.reportYield(run);
  }

  #ended(worker: PooledWorker, session: WorkerSession, event: WorkerExecutionEnded): void {
    const { executionId, result, interrupted, started } = event;
    const run = this.#run(worker, executionId);
    if (run === undefined) {
      if (worker.running.has(executionId)) return; // C2: acknowledged when it is stored, which is under way
      // Its end is stored, or nobody waits for it any more.
      session.acknowledge(executionId, "at once");
      return;
    }
    const ended: ExecutionEnded = {
      result: boundedResult(result, this.#scheduler.settings.payloadBytes),
      interrupted,
      killed: false,
      // Of a worker that is used up the last one holds it to its end.
      released: run.shape.maxInvocationsPerWorker > worker.taken || this.#runsOther(worker, executionId),
      workerId: started ? worker.id : "",
    };
    this.#scheduler.end(run, ended, worker);
  }

  #runsOther(worker: PooledWorker, executionId: string): boolean {
    return Array.from(worker.running).some((id) => id !== executionId && this.#scheduler.runs.get(id)?.ended === false);
  }

  #run(worker: PooledWorker, executionId: string): Run | undefined {
    const run = this.#scheduler.runs.get(executionId);
    return run?.workerId === worker.id && !run.ended ? run : undefined;
  }

  /** The worker bounds what its functions print; a worker that does not is cut here. */
  #append(run: Run, said: LogLine): void {
    const { logBytes, line } = boundedLine(run.logBytes, said);
    run.logBytes = logBytes;
    if (line !== undefined) this.#scheduler.reporters.of(run.lessor).appendLines([line]);
  }
}
