/** The engine's events, followed for ever: hints, of which some may be lost or come twice. */
import type { Readable } from "node:stream";
import type { GetEventsOptions } from "dockerode";
import { backOff, type DockerEngine } from "./docker_engine.js";
import { LABELS } from "./docker_profile.js";

export interface ContainerEvent {
  readonly action: "die" | "oom";
  readonly workerId: string;
}

export interface EventHandlers {
  readonly onEvent: (event: ContainerEvent) => void;
  /** The stream stands, again or for the first time: events may have been lost. */
  readonly onConnected: () => void;
}

/** Events this much older than the last one seen are asked for again after a break. */
const OVERLAP_S = 5;

/** Follows until `stop` is aborted. Never rejects. */
export async function followEvents(
  engine: DockerEngine,
  installationId: string,
  { onEvent, onConnected }: EventHandlers,
  stop: AbortSignal,
): Promise<void> {
  const filters = { type: ["container"], event: ["die", "oom"], label: [`${LABELS.installation}=${installationId}`] };
  let lastSeenS = Math.floor(Date.now() / 1000);
  for (let attempt = 0; !stop.aborted; attempt += 1) {
    try {
      const stream = await engine.call(async (docker, abortSignal) => {
        const options = { since: lastSeenS - OVERLAP_S, filters, abortSignal };
        return (await docker.getEvents(options as GetEventsOptions)) as Readable;
      }, stop);
      attempt = 0;
      onConnected();
      for await (const line of linesOf(stream, stop)) {
        const { event, timeS } = parseEvent(line);
        lastSeenS = Math.max(lastSeenS, timeS);
        if (event !== undefined) onEvent(event);
      }
    } catch {
      // An outage: the next attempt follows.
    }
    await backOff(attempt, stop).catch(() => {});
  }
}

/** Node's readline would never end where the connection breaks. */
async function* linesOf(stream: Readable, stop: AbortSignal): AsyncGenerator<string> {
  const end = () => void stream.destroy();
  stop.addEventListener("abort", end);
  try {
    let text = "";
    for await (const chunk of stream.setEncoding("utf8")) {
      const lines = (text + String(chunk)).split("\n");
      text = lines.pop() ?? "";
      yield* lines;
    }
  } finally {
    stop.removeEventListener("abort", end);
    stream.destroy();
  }
}

function parseEvent(line: string): { event: ContainerEvent | undefined; timeS: number } {
  try {
    const { Action, Actor, time } = JSON.parse(line) as {
      Action?: string;
      Actor?: { Attributes?: Record<string, string> };
      time?: number;
    };
    const workerId = Actor?.Attributes?.[LABELS.worker];
    const isKnown = Action === "die" || Action === "oom";
    return { event: isKnown && workerId !== undefined ? { action: Action, workerId } : undefined, timeS: time ?? 0 };
  } catch {
    return { event: undefined, timeS: 0 };
  }
}
