/** A process that `unshare` starts has the network of whoever started it for a moment, and so had all that joined it then. */
import { readlinkSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

const BOUND_MS = 60_000;
const PROBE_INTERVAL_MS = 20;

/** Answers when the process has a network of its own. */
export async function untilOwnNetwork(pid: number | undefined): Promise<void> {
  const deadline = performance.now() + BOUND_MS;
  const networkOf = (process: string) => readlinkSync(`/proc/${process}/ns/net`);
  while (networkOf(String(pid)) === networkOf("self")) {
    if (performance.now() > deadline) throw new Error("a network namespace was not made");
    await delay(PROBE_INTERVAL_MS);
  }
}
