/**
 * Loaded into the server with --import and --expose-gc: answers any message with its memory after a garbage collection, and
 * changes nothing else.
 */
import type { ServerMemory } from "../harness/server.js";

process.on("message", () => {
  globalThis.gc?.();
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  const memory: ServerMemory = { rssBytes: rss, heapUsedBytes: heapUsed, externalBytes: external };
  process.send?.(memory);
});
// The channel alone must not keep the server alive.
process.channel?.unref();
