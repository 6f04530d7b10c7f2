/** A client that calls a service of the same process directly, without gRPC between them. */
import { type CallContext, type CallOptions, Metadata } from "nice-grpc";
import type { Caller } from "./principal.js";

type Handlers = Record<string, unknown>;

/**
 * Answers a client of the same shape as the generated one. Requests must be whole messages, since nothing fills in
 * their defaults, and both sides must leave them unchanged, since nothing copies them.
 */
export function localClient<Client extends object>(implementation: object): Client {
  const handlers = implementation as Handlers;
  const client: Handlers = {};
  for (const [name, handler] of Object.entries(handlers)) {
    if (typeof handler !== "function") continue;
    client[name] = (request: unknown, options?: CallOptions) =>
      handler.call(implementation, request, contextOf(options));
  }
  return client as Client;
}

const NEVER = new AbortController().signal;
/** Nobody writes into it: handlers of this shape read the request and the principal. */
const NONE = Metadata();

function contextOf(options: CallOptions | undefined): CallContext & Caller {
  return {
    principal: { kind: "service" },
    metadata: options?.metadata ?? NONE,
    peer: "local",
    header: NONE,
    trailer: NONE,
    sendHeader: () => {},
    signal: options?.signal ?? NEVER,
  };
}
