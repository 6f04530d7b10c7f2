/**
 * The open stream of starts: a message on it costs a tenth of a call. It is opened by the first batch and closed after a
 * short idle time. When it breaks, whatever the reason, its sender repeats the batch as a call of its own, which the request
 * id makes safe, and which tells what is wrong.
 */
import type { Client } from "nice-grpc";
import type {
  BatchStartInvocationsRequest,
  InvocationServiceDefinition,
  StartOutcome,
  StreamStartInvocationsRequest,
} from "../../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { RequestQueue } from "./request_queue.js";
import { silence } from "./silence.js";

/** How long the stream stays open when nothing is started. It keeps the process alive for so long. */
const IDLE_MS = 200;

/** How long the server may take to end a stream after its client has. */
export const END_MS = 1_000;

interface Pending {
  readonly requestId: string;
  readonly resolve: (outcomes: StartOutcome[] | undefined) => void;
}

export class StartStream {
  readonly #answerMs: number;
  readonly #service: Pick<Client<InvocationServiceDefinition>, "streamStartInvocations">;
  #requests: RequestQueue<StreamStartInvocationsRequest> | undefined;
  #stream = new AbortController();
  #pending: Pending | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param answerMs an answer that takes longer is not waited for */
  constructor(service: Pick<Client<InvocationServiceDefinition>, "streamStartInvocations">, answerMs: number) {
    this.#service = service;
    this.#answerMs = answerMs;
  }

  /** Sends one batch; one at a time. Answers undefined where the stream gave no answer. */
  send(batch: BatchStartInvocationsRequest): Promise<StartOutcome[] | undefined> {
    clearTimeout(this.#timer);
    this.#requests ??= this.#open();
    const requests = this.#requests;
    return new Promise((resolve) => {
      this.#pending = { requestId: batch.requestId, resolve };
      this.#timer = setTimeout(() => this.#giveUp(), this.#answerMs);
      requests.push({ batch });
    });
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#stream.abort();
    this.#answer(undefined);
  }

  /** The replica may stand still. The batch is told of it by the stream's end, when what comes next goes to another. */
  #giveUp(): void {
    this.#stream.abort(silence("the stream of starts is silent"));
  }

  #open(): RequestQueue<StreamStartInvocationsRequest> {
    const requests = new RequestQueue<StreamStartInvocationsRequest>();
    const stream = new AbortController();
    this.#stream = stream;
    void this.#read(requests, stream);
    return requests;
  }

  /** Never throws. */
  async #read(requests: RequestQueue<StreamStartInvocationsRequest>, stream: AbortController): Promise<void> {
    try {
      for await (const { requestId, outcomes } of this.#service.streamStartInvocations(requests, {
        signal: stream.signal,
      })) {
        if (this.#pending?.requestId === requestId) this.#answer(outcomes);
      }
    } catch {
      // The batch is sent again in another way, which says what is wrong if anything is.
    }
    requests.close();
    if (this.#requests !== requests) return;
    this.#requests = undefined;
    this.#answer(undefined);
  }

  #answer(outcomes: StartOutcome[] | undefined): void {
    const pending = this.#pending;
    this.#pending = undefined;
    clearTimeout(this.#timer);
    if (this.#requests !== undefined) {
      this.#timer = setTimeout(() => this.#end(), IDLE_MS);
      this.#timer.unref();
    }
    pending?.resolve(outcomes);
  }

  /** In order: a server takes a client that resets many streams for an attacker, and breaks off its connection. */
  #end(): void {
    const stream = this.#stream;
    this.#requests?.close();
    this.#requests = undefined;
    setTimeout(() => stream.abort(), END_MS).unref();
  }
}
