import { type CallContext, createServer, type Server, ServerError, Status } from "nice-grpc";
import { InterruptReason } from "../../../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { LogLine } from "../../../../../gen/multinode/invocation/v1/log_service.pb.js";
import type { FunctionOptions } from "../../../../../gen/multinode/registry/v1/function.pb.js";
import {
  type ConnectRequest,
  type ConnectResponse,
  type DeepPartial,
  type FetchBundleRequest,
  type FetchBundleResponse,
  type WorkerCommand,
  type WorkerEvent,
  type WorkerExecutionEnded,
  WorkerServiceDefinition,
} from "../../../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { decode, encodeArguments } from "../../values/codec.js";

type Command = NonNullable<WorkerCommand["command"]>;
type Event = NonNullable<WorkerEvent["event"]>;
type EventOf<Case extends Event["$case"]> = Extract<Event, { $case: Case }>["value"];

const CHUNK_BYTES = 256 * 1024;
const WAIT_MS = 10_000;

export interface FakeSchedulerOptions {
  readonly statusIntervalMs?: number;
  readonly fenceAfterMs?: number;
  /** Default 0: it never answers a status, and the worker does not mind. */
  readonly silenceAfterMs?: number;
  /** Whether each status is answered. Default: none is. */
  readonly answersStatus?: boolean;
  readonly maxPayloadBytes?: number;
  /** Whether ends and yielded values are acknowledged by themselves. Default: both are. */
  readonly acknowledgesEnds?: boolean;
  readonly acknowledgesYields?: boolean;
}

/** A scheduler for one worker: a real gRPC server that says what a test tells it to and records what it hears. */
export class FakeScheduler {
  readonly events: Event[] = [];
  readonly bundles = new Map<string, Uint8Array>();
  /** So many requests for a bundle are broken off in the middle. */
  bundlesToBreak = 0;
  readonly authorizations: (string | undefined)[] = [];
  options: FakeSchedulerOptions;
  #server: Server | undefined;
  #port = 0;
  #commands: DeepPartial<WorkerCommand>[] = [];
  #isAnswerDue = false;
  #wakeSender: () => void = () => {};
  readonly #watchers = new Set<() => void>();
  connections = 0;

  constructor(options: FakeSchedulerOptions = {}) {
    this.options = options;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Listens, the second time on the port that it had. */
  async start(): Promise<void> {
    const server = createServer();
    server.add(WorkerServiceDefinition, {
      connect: (requests: AsyncIterable<ConnectRequest>, context: CallContext) => this.#connect(requests, context),
      fetchBundle: (request: FetchBundleRequest, context: CallContext) => this.#fetchBundle(request, context),
    });
    this.#port = await server.listen(`127.0.0.1:${this.#port}`);
    this.#server = server;
  }

  stop(): void {
    this.#server?.forceShutdown();
    this.#commands = [];
  }

  send(
    ...commands: {
      [Case in Command["$case"]]: { $case: Case; value: DeepPartial<Extract<Command, { $case: Case }>["value"]> };
    }[Command["$case"]][]
  ): void {
    for (const command of commands) this.#commands.push({ command } as DeepPartial<WorkerCommand>);
    this.#wakeSender();
  }

  bind(
    functionName: string,
    digest: string,
    options: Partial<FunctionOptions> = {},
    environment: Record<string, string> = {},
  ): void {
    this.send({
      $case: "bind",
      value: {
        projectName: "project",
        versionId: "ver-1",
        function: { functionName, options },
        code: { source: { $case: "bundle", value: { digest } }, environment },
      },
    });
  }

  assign(
    executionId: string,
    args: readonly unknown[] = [],
    named?: Record<string, unknown>,
    beginWithinMs?: number,
  ): void {
    const { positional, named: namedPayload } = encodeArguments(args, named);
    this.send({
      $case: "assign",
      value: {
        executionId,
        invocationId: `inv-of-${executionId}`,
        attemptNumber: 1,
        executionToken: `token-of-${executionId}`,
        parentInvocationId: "inv-parent",
        arguments: { positional, named: namedPayload } as never,
        beginWithinMs,
      },
    });
  }

  cancel(executionId: string): void {
    this.send({ $case: "interrupt", value: { executionId, reason: InterruptReason.CANCELLED } });
  }

  of<Case extends Event["$case"]>(kind: Case): EventOf<Case>[] {
    return this.events.filter((event) => event.$case === kind).map((event) => event.value as EventOf<Case>);
  }

  /** Waits until something is so, looking whenever anything happens. */
  async until<T>(look: () => T | undefined | false, what: string, waitMs = WAIT_MS): Promise<T> {
    const now = look();
    if (now !== undefined && now !== false) return now;
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#watchers.delete(watcher);
        reject(new Error(`waited ${waitMs} ms for: ${what}; heard ${JSON.stringify(this.events.slice(-20))}`));
      }, waitMs);
      const watcher = (): void => {
        const found = look();
        if (found === undefined || found === false) return;
        clearTimeout(timer);
        this.#watchers.delete(watcher);
        resolve(found);
      };
      this.#watchers.add(watcher);
    });
  }

  ended(executionId: string, waitMs?: number): Promise<WorkerExecutionEnded> {
    const find = (): WorkerExecutionEnded | undefined =>
      this.of("ended").find((end) => end.executionId === executionId);
    return this.until(find, `the end of ${executionId}`, waitMs);
  }

  /** The decoded result, or the error, of an execution. */
  async outcome(executionId: string): Promise<{ value?: unknown; error?: string; interrupted: boolean }> {
    const { result, interrupted } = await this.ended(executionId);
    if (result?.$case === "threw") return { error: result.value.error, interrupted };
    const payload = result?.value.value;
    return payload === undefined ? { interrupted } : { value: decode(payload), interrupted };
  }

  yields(executionId: string): [index: number, value: unknown][] {
    return this.of("yielded")
      .filter((event) => event.executionId === executionId)
      .map((event) => [event.index, event.value === undefined ? undefined : decode(event.value)]);
  }

  lines(executionId: string): LogLine[] {
    return this.of("logs").flatMap(({ lines }) => lines.filter((line) => line.executionId === executionId));
  }

  async *#connect(
    requests: AsyncIterable<ConnectRequest>,
    context: CallContext,
  ): AsyncGenerator<DeepPartial<ConnectResponse>> {
    this.authorizations.push(context.metadata.get("authorization"));
    this.connections += 1;
    const reader = this.#read(requests);
    let isOpen = true;
    reader
      .catch(() => {})
      .finally(() => {
        isOpen = false;
        this.#wakeSender();
      });
    await this.until(() => this.events.at(-1)?.$case === "hello", "hello");
    const {
      statusIntervalMs = 1_000,
      fenceAfterMs = 20_000,
      maxPayloadBytes = 250_000,
      silenceAfterMs = 0,
    } = this.options;
    const welcome = {
      protocolVersion: 1,
      statusIntervalMs,
      fenceAfterMs,
      maxPayloadBytes,
      apiUrl: "http://127.0.0.1:9",
      silenceAfterMs,
    };
    yield { commands: [{ command: { $case: "welcome", value: welcome } }] };
    while (isOpen && !context.signal.aborted) {
      if (this.#commands.length > 0 || this.#isAnswerDue) {
        this.#isAnswerDue = false;
        yield { commands: this.#commands.splice(0) };
      } else {
        await new Promise<void>((resolve) => {
          this.#wakeSender = resolve;
          context.signal.addEventListener("abort", () => resolve(), { once: true });
        });
      }
    }
  }

  async #read(requests: AsyncIterable<ConnectRequest>): Promise<void> {
    for await (const { events } of requests) {
      if (this.options.answersStatus && events.some(({ event }) => event?.$case === "status")) {
        this.#isAnswerDue = true;
        this.#wakeSender();
      }
      for (const { event } of events) {
        if (event === undefined) continue;
        this.events.push(event);
        this.#acknowledge(event);
      }
      for (const watcher of this.#watchers) watcher();
    }
  }

  #acknowledge(event: Event): void {
    const { acknowledgesEnds = true, acknowledgesYields = true } = this.options;
    if (event.$case === "ended" && acknowledgesEnds) {
      this.send({ $case: "acknowledge", value: { executionIds: [event.value.executionId] } });
    }
    if (event.$case === "yielded" && acknowledgesYields) {
      this.send({ $case: "acknowledgeYielded", value: { executionIds: [event.value.executionId] } });
    }
  }

  async *#fetchBundle(
    { digest }: FetchBundleRequest,
    context: CallContext,
  ): AsyncGenerator<DeepPartial<FetchBundleResponse>> {
    this.authorizations.push(context.metadata.get("authorization"));
    const bytes = this.bundles.get(digest);
    if (bytes === undefined) throw new ServerError(Status.NOT_FOUND, "BundleDoesNotExist");
    if (this.bundlesToBreak > 0) {
      this.bundlesToBreak -= 1;
      yield { chunk: Buffer.from(bytes.subarray(0, 1)) };
      throw new ServerError(Status.UNAVAILABLE, "broken off");
    }
    for (let at = 0; at < bytes.length; at += CHUNK_BYTES)
      yield { chunk: Buffer.from(bytes.subarray(at, at + CHUNK_BYTES)) };
  }
}
