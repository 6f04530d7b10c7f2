/**
 * Lets in those whom the headers show to be known, before any message is read, so that what strangers send is not kept; and
 * waits for the message of a call that has one no longer than a bound. For both the middleware of nice-grpc comes too late:
 * it is called when the message is there.
 */
import type { ServerHttp2Stream } from "node:http2";
import { ServerInterceptingCall, type ServerInterceptor } from "@grpc/grpc-js";
import type { Metadata } from "nice-grpc";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { apiKeyIsInvalid, Refusal } from "../errors.js";
import type { Logger } from "../log.js";
import { authenticate, type Credentials, isOpen } from "./authenticate.js";
import { logCall, logInternalError } from "./call_log.js";
import { likeRefusals, toStatusObject } from "./error_status.js";
import type { Principal } from "./principal.js";
import { SentMessages } from "./sent_messages.js";

type Call = Parameters<ServerInterceptor>[1];

export interface AdmissionSettings extends Credentials {
  readonly log: Logger;
  /** How long after its headers the one message of a call may take to be there. */
  readonly requestArrivalMs: number;
}

/** A call that is under way. */
export interface AdmittedCall {
  readonly principal: Principal;
  readonly sent: SentMessages;
}

/** Names a call to the middleware. What a client sends under this name is written over. */
const NUMBER_HEADER = "multinode-call-number";

export class Admission {
  readonly #settings: AdmissionSettings;
  /** By their numbers. */
  readonly #admitted = new Map<string, AdmittedCall>();
  #calls = 0;
  /** Of services that need no key. */
  #openStreams = 0;

  constructor(settings: AdmissionSettings) {
    this.#settings = settings;
  }

  /** The call with this metadata, out of which its number is taken. */
  callOf(metadata: Metadata): AdmittedCall {
    const admitted = this.#admitted.get(metadata.get(NUMBER_HEADER) ?? "");
    metadata.delete(NUMBER_HEADER);
    // The call is over, and nobody hears this.
    if (admitted === undefined) throw apiKeyIsInvalid();
    return admitted;
  }

  readonly interceptor: ServerInterceptor = ({ path, requestStream, responseStream }, call) => {
    const startedAt = performance.now();
    const number = String(++this.#calls);
    let isOver = false;
    const refuse = (error: unknown) => {
      if (!isOver) this.#refuse(path, call, error, startedAt);
    };
    const arrival = this.#boundArrival(call, refuse);
    // The library ends a call by this where a message is too large or damaged, and by no interceptor.
    const send = call.sendStatus.bind(call);
    call.sendStatus = (status) => send(likeRefusals(status));
    const needsNoKey = isOpen(path);
    if (needsNoKey) boundMessages(call);
    const isOpenStream = needsNoKey && (requestStream || responseStream);
    if (isOpenStream) this.#countOpen(call);
    const sent = new SentMessages();
    const sendMessage = call.sendMessage.bind(call);
    call.sendMessage = (message, done) =>
      sendMessage(message, () => {
        sent.sent();
        done();
      });
    return new ServerInterceptingCall(call, {
      start: (next) => {
        next({
          onReceiveMetadata: (metadata, admit) => {
            if (isOpenStream && this.#openStreams > LIMITS.openStreams) {
              refuse(tooManyOpenStreams());
              return;
            }
            authenticate(this.#settings, path, metadata.get("authorization")).then((principal) => {
              if (isOver) return;
              if (requestStream) clearTimeout(arrival);
              this.#admitted.set(number, { principal, sent });
              metadata.set(NUMBER_HEADER, number);
              admit(metadata);
            }, refuse);
          },
          onReceiveHalfClose: (pass) => {
            clearTimeout(arrival);
            pass();
          },
          onCancel: () => {
            isOver = true;
            this.#admitted.delete(number);
            sent.end();
          },
        });
      },
    });
  };

  #boundArrival(call: Call, refuse: (error: Refusal) => void): NodeJS.Timeout {
    const { requestArrivalMs } = this.#settings;
    const stream = streamOf(call);
    const timer = setTimeout(() => {
      const limit = String(requestArrivalMs);
      const message = `the request has not arrived within ${limit} ms`;
      refuse(new Refusal("ResourceExhausted", message, { metadata: { limit } }));
      // Also where the call had its answer: the library keeps what came of a message for as long as the stream is open.
      stream?.close();
    }, requestArrivalMs);
    stream?.once("close", () => clearTimeout(timer));
    return timer;
  }

  #countOpen(call: Call): void {
    this.#openStreams += 1;
    streamOf(call)?.once("close", () => {
      this.#openStreams -= 1;
    });
  }

  #refuse(path: string, call: Call, error: unknown, startedAt: number): void {
    const { log } = this.#settings;
    const status = error instanceof Refusal ? toStatusObject(error) : logInternalError(log, path, error);
    call.sendStatus(status);
    logCall(log, path, status.code, startedAt, call.getPeer());
  }
}

function tooManyOpenStreams(): Refusal {
  const limit = String(LIMITS.openStreams);
  return new Refusal("ResourceExhausted", `${limit} streams without a key are open`, { metadata: { limit } });
}

/** Nobody is known there: no more is kept of a message than these need. The library has one bound for all calls of a server. */
function boundMessages(call: Call): void {
  const bounded = call as unknown as { maxReceiveMessageSize: number; decoder: { maxReadMessageLength: number } };
  bounded.maxReceiveMessageSize = LIMITS.openMessageBytes;
  bounded.decoder.maxReadMessageLength = LIMITS.openMessageBytes;
}

/** Which the library does not show, and does not close with a call that it ends. */
function streamOf(call: Call): ServerHttp2Stream | undefined {
  return (call as unknown as { readonly stream?: ServerHttp2Stream }).stream;
}
