/**
 * Calls to a Docker engine, each with a bound, and what may be said about one that fails.
 *
 * An engine that hangs, restarts or is away is an outage: nothing is known of what was asked for, and the same must be
 * asked again. Any other failure is the engine's answer.
 */
import { setTimeout as delay } from "node:timers/promises";
import Docker from "dockerode";
import { backoffMs } from "../../platform/backoff.js";

export interface EngineSettings {
  /** Path of the engine's Unix socket. */
  readonly socketPath: string;
  /** Bound of one call, in milliseconds. Default 30 s. */
  readonly callTimeoutMs?: number;
}

/** One request to the engine. It must hand the signal on as `abortSignal`. */
export type EngineRequest<T> = (docker: Docker, abortSignal: AbortSignal) => Promise<T>;

const CALL_TIMEOUT_MS = 30_000;
const FIRST_BACKOFF_MS = 100;
const LONGEST_BACKOFF_MS = 5_000;
/** What the engine says, with status 500, when a part of itself is away. */
const OUTAGE_TEXT = /containerd|ttrpc|transport is closing|connection (refused|reset)|shutting down|context canceled/i;

export class DockerEngine {
  readonly #docker: Docker;
  readonly #callTimeoutMs: number;

  constructor({ socketPath, callTimeoutMs = CALL_TIMEOUT_MS }: EngineSettings) {
    // Without a host of its own DOCKER_HOST would decide.
    this.#docker = new Docker({ socketPath, host: undefined });
    this.#callTimeoutMs = callTimeoutMs;
  }

  /** A container by its name or id; nothing is asked of the engine. */
  container(name: string): Docker.Container {
    return this.#docker.getContainer(name);
  }

  /** Rejects when the bound is over or `stop` is aborted. The bound does not touch a stream that the call answered. */
  async call<T>(request: EngineRequest<T>, stop?: AbortSignal): Promise<T> {
    stop?.throwIfAborted();
    const bound = new AbortController();
    const { promise: broken, reject } = Promise.withResolvers<never>();
    const abort = () => {
      // Not every request can be aborted, and some never settle.
      reject(new Error(`the Docker engine was given up on, after ${this.#callTimeoutMs} ms at most`));
      bound.abort();
    };
    const timer = setTimeout(abort, this.#callTimeoutMs);
    stop?.addEventListener("abort", abort);
    try {
      return await Promise.race([request(this.#docker, bound.signal), broken]);
    } finally {
      clearTimeout(timer);
      stop?.removeEventListener("abort", abort);
    }
  }

  /** Asks again, for as long as there is an outage and `stop` is not aborted. */
  async insist<T>(request: EngineRequest<T>, stop: AbortSignal): Promise<T> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.call(request, stop);
      } catch (error) {
        if (stop.aborted || !isOutage(error)) throw error;
        await backOff(attempt, stop);
      }
    }
  }
}

/** Waits before another attempt; `attempt` counts from 0. Rejects when `stop` is aborted. */
export async function backOff(attempt: number, stop: AbortSignal): Promise<void> {
  await delay(backoffMs(attempt, FIRST_BACKOFF_MS, LONGEST_BACKOFF_MS), undefined, { signal: stop });
}

/** The HTTP status of the engine's answer; undefined where there was none. */
export function statusOf(error: unknown): number | undefined {
  const status: unknown = typeof error === "object" && error !== null ? Reflect.get(error, "statusCode") : undefined;
  return typeof status === "number" ? status : undefined;
}

/** What was asked for is so already, or another was first. */
export function isConflict(error: unknown): boolean {
  return statusOf(error) === 409;
}

export function isOutage(error: unknown): boolean {
  const status = statusOf(error);
  if (status === undefined) return true;
  return status === 503 || (status === 500 && OUTAGE_TEXT.test(String(error)));
}

export function isMissingImage(error: unknown): boolean {
  return statusOf(error) === 404 && /no such image/i.test(String(error));
}

export function isMissingContainer(error: unknown): boolean {
  return statusOf(error) === 404 && /no such container/i.test(String(error));
}

/** What `request` answers, or undefined where the engine knows no such thing. */
export function orNothing<T>(request: EngineRequest<T>): EngineRequest<T | undefined> {
  return async (docker, abortSignal) => {
    try {
      return await request(docker, abortSignal);
    } catch (error) {
      if (statusOf(error) === 404) return undefined;
      throw error;
    }
  };
}
