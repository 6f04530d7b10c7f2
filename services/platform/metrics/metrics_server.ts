/** Serves metrics over HTTP at /metrics, in plain text and to whoever can connect: the address decides who that is. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Logger } from "../log.js";
import { Metrics } from "./metrics.js";

export interface MetricsAddress {
  readonly host: string;
  readonly port: number;
}

const PATH = "/metrics";
/** Most connections at a time; a scraper has one. */
const CONNECTIONS = 32;
/** Who says nothing is soon let go, and leaves the place to another, in milliseconds. */
const TIMES = {
  headersTimeout: 5_000,
  requestTimeout: 5_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
};

export interface MetricsServer {
  readonly metrics: Metrics;
  readonly port: number;
  close(): void;
}

/** @throws Error with code EADDRINUSE where the port is taken. */
export async function serveMetrics(address: MetricsAddress, log: Logger): Promise<MetricsServer> {
  const metrics = new Metrics(log);
  const server = createServer(TIMES, (request, response) => {
    const answer = (status: number, text: string, headers: Record<string, string> = {}) =>
      response.writeHead(status, { "content-type": "text/plain; charset=utf-8", ...headers }).end(text);
    if (request.url?.split("?", 1)[0] !== PATH) answer(404, `there is only ${PATH}\n`);
    else if (request.method !== "GET" && request.method !== "HEAD")
      answer(405, `${PATH} is only read\n`, { allow: "GET, HEAD" });
    else
      metrics.text().then(
        (text) => answer(200, text, { "content-type": metrics.contentType }),
        (err: unknown) => {
          log.error({ err }, "the metrics cannot be told");
          answer(500, "the metrics cannot be told; the log of the service says why\n");
        },
      );
  });
  server.maxConnections = CONNECTIONS;
  server.listen(address);
  await once(server, "listening");
  server.on("error", (err) => log.warn({ err }, "a connection for metrics failed"));
  return {
    metrics,
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
