/** The gRPC server of a service: limits, keepalive, who calls, errors, one access line a call. */
import { randomBytes } from "node:crypto";
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
import { apiKeyIsInvalid, Refusal } from "../errors.js";
import type { Logger } from "../log.js";
import { type AccessTable, requireAccess, requireProject } from "./access.js";
import { internalError, toServerError } from "./error_status.js";
import { readStrictly, untilAborted, wellFormed } from "./messages.js";
import type { Authority, Caller, Principal } from "./principal.js";

export interface ServerSettings {
  readonly log: Logger;
  /** Asked in order; the first that knows the token says who calls. */
  readonly authorities: readonly Authority[];
  readonly access: AccessTable;
  /** Aborts when the server is to stop: streams then end with Unavailable, so that their readers go elsewhere. */
  readonly stopping: AbortSignal;
}

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

/** Anybody may ask whether the server lives, and what it offers. */
const OPEN_SERVICES = new Set(["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]);
const OPEN_PREFIX = "grpc.reflection.";

export function createRpcServer(settings: ServerSettings): Server<Caller> {
  const server = createServer(SERVER_OPTIONS).use(middleware(settings));
  return {
    ...server,
    add: (definition, implementation) => server.add(readStrictly(sentWhole(definition)), implementation),
  };
}

function middleware(settings: ServerSettings): ServerMiddleware<Caller> {
  return async function* handleCall(call, context) {
    const startedAt = performance.now();
    let code: Status = Status.OK;
    try {
      checkMetadataSize(context.metadata);
      const principal = await authenticate(settings, call.method.path, context);
      const request = wellFormed(call.request, call.requestStream);
      if (!call.requestStream) requireProject(principal, request);
      if (!call.responseStream) return yield* call.next(request, { ...context, principal });
      const credential = watchCredential(settings, call.method.path, context);
      const signal = AbortSignal.any([context.signal, settings.stopping, credential.lost]);
      const requests = call.requestStream ? untilAborted(request as AsyncIterable<never>, signal) : request;
      try {
        yield* call.next(requests, { ...context, signal, principal });
      } finally {
        credential.stop();
      }
      credential.lost.throwIfAborted();
      if (settings.stopping.aborted) throw new Refusal("Unavailable", "the server is stopping", { retryAfterMs: 500 });
      return;
    } catch (error) {
      const answer = toAnswer(error, context, settings.log, call.method.path);
      code = answer instanceof ServerError ? answer.code : Status.CANCELLED;
      throw answer;
    } finally {
      if (settings.log.isLevelEnabled("debug")) {
        const ms = Math.round((performance.now() - startedAt) * 1000) / 1000;
        settings.log.debug({ method: call.method.path, code: Status[code], ms, peer: context.peer }, "call");
      }
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
    authenticate(settings, path, context).catch((error: unknown) => {
      if (error instanceof Refusal && error.reason !== "Unavailable") lost.abort(error);
    });
  };
  const timer = setInterval(look, LIMITS.apiKeyCacheMs);
  return { lost: lost.signal, stop: () => clearInterval(timer) };
}

/** The library has no limit of its own, and HTTP/2 in Node one of about 100 kB. */
function checkMetadataSize(metadata: Metadata): void {
  let bytes = 0;
  for (const [name, values] of metadata) for (const value of values) bytes += name.length + value.length;
  if (bytes <= LIMITS.metadataBytes) return;
  const limit = String(LIMITS.metadataBytes);
  throw new Refusal("ResourceExhausted", `the metadata has ${bytes} bytes, more than the limit of ${limit}`, {
    metadata: { limit },
  });
}

async function authenticate(settings: ServerSettings, path: string, context: CallContext): Promise<Principal> {
  const service = path.slice(1, path.indexOf("/", 1));
  if (OPEN_SERVICES.has(service) || service.startsWith(OPEN_PREFIX)) return { kind: "service" };
  const token = bearerToken(context.metadata.getAll("authorization"));
  for (const authority of settings.authorities) {
    const principal = await authority(token);
    if (principal === undefined) continue;
    requireAccess(settings.access, path, principal);
    return principal;
  }
  throw apiKeyIsInvalid();
}

function bearerToken(values: readonly (string | Uint8Array)[]): string {
  const [value] = values;
  if (values.length !== 1 || typeof value !== "string") throw apiKeyIsInvalid();
  const match = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(value);
  if (match?.[1] === undefined) throw apiKeyIsInvalid();
  return match[1];
}

function toAnswer(error: unknown, context: CallContext, log: Logger, method: string): unknown {
  if (error instanceof Refusal) return toServerError(error, context.trailer);
  if (error instanceof ServerError) return error;
  if (context.signal.aborted) return error;
  const id = randomBytes(6).toString("hex");
  log.error({ errorId: id, method, err: error }, "internal error");
  return internalError(id);
}
