/** The gRPC server of a service: limits, keepalive, who calls, errors, one access line a call. */
import {
  type CallContext,
  createServer,
  type Metadata,
  type Server,
  ServerError,
  type ServerMiddleware,
  Status,
} from "nice-grpc";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { sentWhole } from "../../../sdk/typescript/src/protocol/whole_messages.js";
import { limitIsExceeded, Refusal, serverIsStopping } from "../errors.js";
import type { Logger } from "../log.js";
import { requireProject } from "./access.js";
import { Admission } from "./admission.js";
import { authenticate, type Credentials } from "./authenticate.js";
import { logCall, logInternalError } from "./call_log.js";
import { toServerError } from "./error_status.js";
import { readStrictly, untilAborted, wellFormed } from "./messages.js";
import type { Caller } from "./principal.js";

/** Is told of each call as it begins; what it answers is told the end. */
export type CallObserver = (method: {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}) => (code: Status) => void;

export interface ServerSettings extends Credentials {
  readonly log: Logger;
  readonly observe?: CallObserver | undefined;
  /** Aborts when the server is to stop: streams then end with Unavailable, so that their readers go elsewhere. */
  readonly stopping: AbortSignal;
  /** Default `LIMITS.requestArrivalMs`. */
  readonly requestArrivalMs?: number;
  /** Default `LIMITS.connectionAgeMs`. */
  readonly connectionAgeMs?: number;
}

/** To those whose calls end because the server stops. */
const AGAIN = { retryAfterMs: 500 };

const SERVER_OPTIONS = {
  "grpc.max_receive_message_length": LIMITS.messageBytes,
  "grpc.max_send_message_length": LIMITS.messageBytes,
  "grpc.max_concurrent_streams": LIMITS.streamsPerConnection,
  "grpc-node.max_session_memory": 128,
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.enable_channelz": 0,
};

export function createRpcServer(settings: ServerSettings): Server<Caller> {
  const admission = new Admission({ requestArrivalMs: LIMITS.requestArrivalMs, ...settings });
  const options = {
    ...SERVER_OPTIONS,
    "grpc.max_connection_age_ms": settings.connectionAgeMs ?? LIMITS.connectionAgeMs,
    interceptors: [admission.interceptor],
  };
  const server = createServer(options).use(middleware(settings, admission));
  return {
    ...server,
    add: (definition, implementation) => server.add(readStrictly(sentWhole(definition)), implementation),
  };
}

function middleware(settings: ServerSettings, admission: Admission): ServerMiddleware<Caller> {
  return async function* handleCall(call, context) {
    const startedAt = performance.now();
    const observed = settings.observe?.(call.method);
    let code: Status = Status.OK;
    try {
      const { principal, sent } = admission.callOf(context.metadata);
      checkMetadataSize(context.metadata);
      const request = wellFormed(call.request, call.requestStream);
      if (!call.requestStream) requireProject(principal, request);
      if (!call.responseStream) return yield* call.next(request, { ...context, principal });
      const credential = watchCredential(settings, call.method.path, context);
      // A signal of several is kept, with all that listens to it, until one of them aborts.
      const over = new AbortController();
      const signal = AbortSignal.any([context.signal, settings.stopping, credential.lost, over.signal]);
      signal.addEventListener("abort", () => sent.end(), { once: true });
      if (signal.aborted) sent.end();
      const requests = call.requestStream ? untilAborted(request as AsyncIterable<never>, signal) : request;
      try {
        let count = 0;
        for await (const message of call.next(requests, { ...context, signal, principal })) {
          yield message as never;
          count += 1;
          await sent.until(count);
        }
      } finally {
        credential.stop();
        over.abort();
      }
      credential.lost.throwIfAborted();
      if (settings.stopping.aborted) throw serverIsStopping(AGAIN);
      return;
    } catch (error) {
      const answer = toAnswer(error, context, settings, call.method.path);
      code = answer instanceof ServerError ? answer.code : Status.CANCELLED;
      throw answer;
    } finally {
      observed?.(code);
      logCall(settings.log, call.method.path, code, startedAt, context.peer);
    }
  };
}

/** A stream may outlive its credential: it is looked at again and again, and the signal aborts when it is not good. */
function watchCredential(
  settings: ServerSettings,
  path: string,
  context: CallContext,
): { lost: AbortSignal; stop: () => void } {
  const lost = new AbortController();
  const look = () => {
    authenticate(settings, path, context.metadata.getAll("authorization")).catch((error: unknown) => {
      if (error instanceof Refusal && error.reason !== "Unavailable") lost.abort(error);
    });
  };
  const timer = setInterval(look, LIMITS.apiKeyCacheMs);
  return { lost: lost.signal, stop: () => clearInterval(timer) };
}

/** The library has no limit of its own, and HTTP/2 in Node one of about 64 KiB, above which it ends the connection. */
function checkMetadataSize(metadata: Metadata): void {
  let bytes = 0;
  for (const [name, values] of metadata) for (const value of values) bytes += name.length + value.length;
  if (bytes <= LIMITS.metadataBytes) return;
  const limit = LIMITS.metadataBytes;
  throw limitIsExceeded(`the metadata has ${bytes} bytes, more than the limit of ${limit}`, limit);
}

function toAnswer(error: unknown, context: CallContext, { log, stopping }: ServerSettings, method: string): unknown {
  if (error instanceof Refusal) return toServerError(error, context.trailer);
  if (error instanceof ServerError) return error;
  // Nobody hears of it.
  if (context.signal.aborted) return new ServerError(Status.CANCELLED, "the call was ended");
  // What the stop broke off is for another server.
  if (stopping.aborted && error instanceof Error && error.name === "AbortError")
    return toServerError(serverIsStopping(AGAIN), context.trailer);
  return logInternalError(log, method, error);
}
