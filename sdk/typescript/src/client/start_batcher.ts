/**
 * Starts of the same moment travel as one request.
 *
 * The first start goes out at the end of the current turn, with all others of that turn; while one request is on its way
 * the next gathers. They travel on one open stream, and one by one where that breaks. So a single start waits for nothing,
 * and many share one commit on the server. Each request has a random id, the same in all of its retries, so that none is
 * started twice.
 */
import type { Client } from "nice-grpc";
import type {
  InvocationServiceDefinition,
  StartInvocationRequest,
  StartOutcome,
} from "../../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { MultinodeError, Unavailable } from "../errors.js";
import { LIMITS } from "../protocol/limits.js";
import { payloadSizeBytes } from "../values/codec.js";
import { startRequestToWire } from "./convert.js";
import type { StartRequest, StartSink } from "./invocation_client.js";
import { clientIsClosed } from "./invocation_result.js";
import { StartStream } from "./start_stream.js";
import { copyOf, errorFromStatus } from "./status_details.js";

type StartService = Pick<Client<InvocationServiceDefinition>, "batchStartInvocations" | "streamStartInvocations">;

interface PendingStart {
  readonly request: StartInvocationRequest;
  readonly sizeBytes: number;
  readonly sink: StartSink;
}

/** Bytes of a start besides its names and arguments: tags, lengths, ttl. */
const OVERHEAD_BYTES = 64;

export class StartBatcher {
  readonly #service: StartService;
  readonly #stream: StartStream;
  readonly #closing = new AbortController();
  #queue: PendingStart[] = [];
  #isScheduled = false;
  #isSending = false;

  /** @param answerMs how long the answer to a batch is waited for on the stream */
  constructor(service: StartService, answerMs: number) {
    this.#service = service;
    this.#stream = new StartStream(service, answerMs);
  }

  enqueue(request: StartRequest, sink: StartSink): void {
    if (this.#closing.signal.aborted) {
      sink.notStarted(clientIsClosed());
      return;
    }
    try {
      this.#queue.push({ request: startRequestToWire(request), sizeBytes: sizeBytes(request), sink });
    } catch (error) {
      // One that cannot be sent must not take those of its batch with it.
      sink.notStarted(asError(error));
      return;
    }
    if (this.#isSending || this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      void this.#send();
    });
  }

  /** Refuses what has not been sent and lets go of what has. */
  close(): void {
    this.#closing.abort(new Unavailable("the client was closed"));
    this.#stream.close();
    for (const { sink } of this.#queue.splice(0)) sink.notStarted(new Unavailable("the client was closed"));
  }

  async #send(): Promise<void> {
    this.#isSending = true;
    while (this.#queue.length > 0) {
      const { batch, rest } = takeBatch(this.#queue);
      this.#queue = rest;
      if (batch.length > 0) await this.#sendBatch(batch);
    }
    this.#isSending = false;
  }

  /** Never throws: each sink is told. */
  async #sendBatch(batch: readonly PendingStart[]): Promise<void> {
    const request = {
      requests: batch.map(({ request }) => request),
      requestId: crypto.randomUUID(),
    };
    let outcomes: StartOutcome[];
    try {
      outcomes =
        (await this.#stream.send(request)) ??
        (await this.#service.batchStartInvocations(request, { signal: this.#closing.signal })).outcomes;
    } catch (error) {
      // Each start gets an error object of its own: `map` writes its input into it.
      for (const { sink } of batch) sink.notStarted(error instanceof MultinodeError ? copyOf(error) : asError(error));
      return;
    }
    for (const [index, { sink }] of batch.entries()) tell(sink, outcomes[index]);
  }
}

/** Never throws: the starts behind it wait to be told too. */
function tell(sink: StartSink, told: StartOutcome | undefined): void {
  const outcome = told?.outcome;
  try {
    if (outcome?.$case === "invocationId") sink.started(outcome.value);
    else if (outcome?.$case === "error") sink.notStarted(errorFromStatus(outcome.value));
    else sink.notStarted(new MultinodeError("Internal", "the server gave no outcome for this start"));
  } catch (error) {
    sink.notStarted(asError(error));
  }
}

/** The oldest starts that fit into one request. Those that nobody waits for any more are dropped. */
function takeBatch(queue: readonly PendingStart[]): { batch: PendingStart[]; rest: PendingStart[] } {
  const batch: PendingStart[] = [];
  let bytes = 0;
  let taken = 0;
  for (const pending of queue) {
    if (pending.sink.abandoned) {
      taken += 1;
      pending.sink.notStarted(new Unavailable("the start was given up before it was sent"));
      continue;
    }
    bytes += pending.sizeBytes;
    if (batch.length > 0 && (batch.length >= LIMITS.startsPerBatch || bytes > LIMITS.startBatchBytes)) break;
    batch.push(pending);
    taken += 1;
  }
  return { batch, rest: queue.slice(taken) };
}

/** At least what the request takes on the wire. A character of a name takes one byte, of a key up to three. */
function sizeBytes(request: StartRequest): number {
  const { projectName, versionId, functionName, idempotencyKey } = request;
  const names = projectName.length + versionId.length + functionName.length + 3 * idempotencyKey.length;
  return payloadSizeBytes(request.arguments) + names + OVERHEAD_BYTES;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
