/** Metrics where they are asked for; where they are not, nothing of them is loaded. */
import type { Logger } from "../log.js";
import type { MetricsAddress, MetricsServer } from "./metrics_server.js";

/** @throws Error with code EADDRINUSE where the port is taken. */
export async function openMetrics(
  address: MetricsAddress | undefined,
  log: Logger,
): Promise<MetricsServer | undefined> {
  if (address === undefined) return undefined;
  const { serveMetrics } = await import("./metrics_server.js");
  return await serveMetrics(address, log);
}
