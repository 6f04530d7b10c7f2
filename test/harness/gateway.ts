/**
 * One address in front of several gRPC services: an HTTP/2 reverse proxy that routes by the package of the method. Its
 * clients speak plain text to it; it speaks TLS to the services where it is given a certificate. Headers, data, trailers and resets pass in both directions.
 */
import {
  type ClientHttp2Session,
  connect,
  constants,
  createServer,
  type Http2Session,
  type IncomingHttpHeaders,
  type SecureClientSessionOptions,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";

const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR, NGHTTP2_FLAG_END_STREAM } = constants;
const GRPC_UNIMPLEMENTED = "12";
const GRPC_UNAVAILABLE = "14";

export interface Gateway {
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Listens on a free port of 127.0.0.1.
 *
 * @param routes "host:port" by the beginning of the path, such as "/multinode.registry.v1."
 * @param tls to the services; default: plain text
 */
export async function openGateway(
  routes: Readonly<Record<string, string>>,
  tls?: SecureClientSessionOptions,
): Promise<Gateway> {
  const server = createServer();
  /** A client's connection has one of its own to each service, as if it had connected there. */
  const connections = new Map<Http2Session, Map<string, ClientHttp2Session>>();
  server.on("session", (session) => {
    connections.set(session, new Map());
    session.once("close", () => {
      for (const onward of connections.get(session)?.values() ?? []) onward.destroy();
      connections.delete(session);
    });
    session.on("error", () => undefined);
  });
  server.on("stream", (stream, headers) => {
    const path = headers[":path"] ?? "";
    const address = Object.entries(routes).find(([prefix]) => path.startsWith(prefix))?.[1];
    const onward = stream.session === undefined ? undefined : connections.get(stream.session);
    stream.on("error", () => undefined);
    if (onward === undefined) return;
    if (address === undefined) return refuse(stream, GRPC_UNIMPLEMENTED, `nothing serves ${path}`);
    pass(stream, headers, sessionTo(onward, address, tls));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const session of connections.keys()) session.destroy();
      }),
  };
}

function sessionTo(
  onward: Map<string, ClientHttp2Session>,
  address: string,
  tls: SecureClientSessionOptions | undefined,
): ClientHttp2Session {
  const open = onward.get(address);
  if (open !== undefined && !open.closed && !open.destroyed) return open;
  const session = tls === undefined ? connect(`http://${address}`) : connect(`https://${address}`, tls);
  // A failure is told to each stream.
  session.on("error", () => undefined);
  onward.set(address, session);
  return session;
}

function pass(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, session: ClientHttp2Session): void {
  const onward = session.request({ ...headers }, { endStream: false });
  let trailers: IncomingHttpHeaders = {};
  onward.on("response", (responseHeaders, flags) => {
    if (stream.destroyed) return;
    if ((flags & NGHTTP2_FLAG_END_STREAM) !== 0) return stream.respond({ ...responseHeaders }, { endStream: true });
    stream.respond({ ...responseHeaders }, { waitForTrailers: true });
    onward.pipe(stream);
  });
  onward.on("trailers", (received) => {
    trailers = received;
  });
  // A service that died in the middle of a stream sent no status; without one the client would wait on.
  stream.on("wantTrailers", () =>
    stream.sendTrailers("grpc-status" in trailers ? { ...trailers } : { "grpc-status": GRPC_UNAVAILABLE }),
  );
  onward.on("error", () => undefined);
  onward.once("close", () => {
    if (stream.destroyed || stream.writableEnded) return;
    if (!stream.headersSent && session.destroyed)
      return refuse(stream, GRPC_UNAVAILABLE, "the service cannot be reached");
    stream.close(onward.rstCode === NGHTTP2_NO_ERROR ? NGHTTP2_INTERNAL_ERROR : onward.rstCode);
  });
  stream.once("close", () => {
    if (!onward.destroyed) onward.close(stream.rstCode === NGHTTP2_NO_ERROR ? NGHTTP2_CANCEL : stream.rstCode);
  });
  stream.pipe(onward);
}

function refuse(stream: ServerHttp2Stream, grpcStatus: string, message: string): void {
  const headers = { ":status": 200, "content-type": "application/grpc", "grpc-status": grpcStatus };
  stream.respond({ ...headers, "grpc-message": encodeURIComponent(message) }, { endStream: true });
}
