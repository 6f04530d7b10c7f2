/** Calls of a gRPC server, under the names that gRPC's own metrics for Prometheus have, so that dashboards for these fit. */
import { Status } from "nice-grpc";
import type { CallObserver } from "../rpc/server.js";
import type { Metrics } from "./metrics.js";

export function observeCalls(metrics: Metrics): CallObserver {
  const labels = ["grpc_service", "grpc_method", "grpc_type"] as const;
  const started = metrics.counter("grpc_server_started_total", "Calls that have begun", labels);
  const handled = metrics.counter("grpc_server_handled_total", "Calls that have ended", [...labels, "grpc_code"]);
  const seconds = metrics.histogram("grpc_server_handling_seconds", "Time of a call that is no stream", labels);
  return ({ path, requestStream, responseStream }) => {
    const startedAt = performance.now();
    const [, service = "", method = ""] = path.split("/");
    const type = TYPES[requestStream ? 1 : 0]?.[responseStream ? 1 : 0] ?? "";
    started.labels(service, method, type).inc();
    return (code) => {
      handled.labels(service, method, type, Status[code]).inc();
      if (type === "unary") seconds.labels(service, method, type).observe((performance.now() - startedAt) / 1_000);
    };
  };
}

/** By whether requests are a stream, and whether answers are. */
const TYPES = [
  ["unary", "server_stream"],
  ["client_stream", "bidi_stream"],
] as const;
