import { setTimeout as wait } from "node:timers/promises";
import type { LogLine } from "../../../../gen/multinode/invocation/v1/log_service.pb.js";
import type { MultinodeClient } from "../client/client.js";
import { silence } from "../client/silence.js";
import { Unavailable } from "../errors.js";
import { LIMITS } from "../protocol/limits.js";

export interface LogTarget {
  readonly projectName: string;
  readonly functionName: string;
  readonly invocationId: string;
  /** Empty: all. */
  readonly executionId: string;
}

export interface FollowLogsOptions {
  readonly write: (line: LogLine) => void;
  /** Told when the connection is lost. */
  readonly note: (text: string) => void;
  readonly signal: AbortSignal;
}

const RECONNECT_MS = 1_000;

/**
 * Writes each line once, until the invocation is terminated. A broken connection is made anew for as long as it takes;
 * the stream then begins at the first line again, and what has been written is passed over.
 */
export async function followLogs(
  logs: MultinodeClient["logs"],
  target: LogTarget,
  { write, note, signal }: FollowLogsOptions,
): Promise<void> {
  const written = new Map<string, number>();
  const writeNew = (line: LogLine): void => {
    if (line.lineNumber <= (written.get(line.executionId) ?? 0)) return;
    written.set(line.executionId, line.lineNumber);
    write(line);
  };
  for (let isLost = false; ; isLost = true) {
    if (isLost) await wait(RECONNECT_MS, undefined, { signal });
    const outcome = await followOnce(logs, target, writeNew, signal);
    if (outcome === "ended") return;
    if (!isLost) note("The connection was lost; trying again.");
  }
}

async function followOnce(
  logs: MultinodeClient["logs"],
  target: LogTarget,
  write: (line: LogLine) => void,
  signal: AbortSignal,
): Promise<"ended" | "lost"> {
  const silent = new AbortController();
  const timer = setTimeout(() => silent.abort(silence("the stream of lines is silent")), LIMITS.silenceMs);
  try {
    const call = { signal: AbortSignal.any([signal, silent.signal]) };
    for await (const { lines } of logs.followLogs(target, call)) {
      timer.refresh();
      for (const line of lines) write(line);
    }
    return "ended";
  } catch (error) {
    signal.throwIfAborted();
    if (silent.signal.aborted || error instanceof Unavailable) return "lost";
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
