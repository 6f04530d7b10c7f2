/** What every call gets: the credential, a deadline, retries where they are safe, and errors of the SDK's own classes. */

import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import {
  type CallOptions,
  ClientError,
  type ClientMiddleware,
  type ClientMiddlewareCall,
  Metadata,
  Status,
} from "nice-grpc-common";
import { MultinodeError, Unavailable } from "../errors.js";
import { LIMITS } from "../protocol/limits.js";
import { isSilence, silence } from "./silence.js";
import { errorFromCall, STATUS_DETAILS_TRAILER } from "./status_details.js";

export interface CallPolicy {
  readonly apiUrl: string;
  /** API key, or the token of an execution. */
  readonly credential: string;
  /** How long a call that meets UNAVAILABLE is tried again, in milliseconds. 0: it is not, and waits for one answer. */
  readonly retryForMs: number;
  /** How long the first answer is waited for before another replica is asked, and half of how long the second is. */
  readonly answerMs: number;
  /**
   * Called when a replica that said nothing since then was left: what is open with it, and was silent too, is better opened
   * again. `sinceMs`: of `performance.now()`.
   */
  readonly onSilence: (sinceMs: number) => void;
}

/** Refusals of calls that were sent again: the first try may have been carried out, and its answer lost. */
const repeated = new WeakSet<MultinodeError>();

export function isOfRepetition(error: unknown): error is MultinodeError {
  return error instanceof MultinodeError && repeated.has(error);
}

/** A gateway before several replicas sends calls of the same value to the same one, which then knows what it is asked to watch. */
const AFFINITY_HEADER = "multinode-affinity";
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 2_000;

/**
 * Unary calls have a deadline and may be retried; streams are their callers' to reopen. Who gives up a stream because
 * nothing comes on it aborts its signal with a `silence`, so that it is opened at another replica.
 */
export function callPolicy(policy: CallPolicy): ClientMiddleware {
  let affinity = randomUUID();
  const metadataOf = (options: CallOptions) =>
    Metadata(options.metadata).set("authorization", `Bearer ${policy.credential}`).set(AFFINITY_HEADER, affinity);
  /** That replica may be ill, or stand still: whatever comes next goes to another, unless it does so already. */
  const leaveReplica = (used: string, error: Unavailable, sinceMs: number) => {
    if (affinity !== used) return;
    affinity = randomUUID();
    if (isSilence(error)) policy.onSilence(sinceMs);
  };
  return async function* (call, options) {
    if (call.requestStream || call.responseStream) {
      const used = affinity;
      try {
        return yield* attempt(policy, call, { ...options, metadata: metadataOf(options) }, options.signal);
      } catch (error) {
        if (error instanceof Unavailable) leaveReplica(used, error, performance.now() - policy.answerMs);
        throw error;
      }
    }
    const mayRetry = policy.retryForMs > 0 && isRepeatable(call.method.options.idempotencyLevel, call.request);
    /** What is left for waiting for answers. A server that is away has a time of its own. */
    let patienceMs: number = LIMITS.callDeadlineMs;
    let answerMs = mayRetry ? policy.answerMs : patienceMs;
    let awaySinceMs: number | undefined;
    for (let retries = 0; ; retries += 1) {
      const used = affinity;
      const sentAtMs = performance.now();
      const boundMs = Math.min(answerMs, patienceMs);
      try {
        return yield* attemptUnary(policy, call, { ...options, metadata: metadataOf(options) }, boundMs);
      } catch (error) {
        if (!(error instanceof Unavailable)) {
          if (retries > 0 && error instanceof MultinodeError) repeated.add(error);
          throw error;
        }
        leaveReplica(used, error, sentAtMs);
        const waitMs = retryWaitMs(retries, Math.random());
        if (isSilence(error)) {
          patienceMs -= boundMs;
          answerMs *= 2;
          awaySinceMs = undefined;
          if (!mayRetry || patienceMs <= 0) throw error;
        } else {
          awaySinceMs ??= sentAtMs;
          if (!mayRetry || performance.now() + waitMs - awaySinceMs >= policy.retryForMs) throw error;
        }
        await delay(waitMs, undefined, options.signal === undefined ? {} : { signal: options.signal }).catch(
          () => undefined,
        );
        options.signal?.throwIfAborted();
      }
    }
  };
}

/** Full jitter: 0 to 50 ms, then up to twice as long each time, at most 2 s. `random` is 0 to 1. */
function retryWaitMs(retries: number, random: number): number {
  return random * Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(retries, 10));
}

/** A call may be sent again where its contract says so, or where a request id lets the server know it again. */
function isRepeatable(idempotencyLevel: string | undefined, request: unknown): boolean {
  if (idempotencyLevel === "IDEMPOTENT" || idempotencyLevel === "NO_SIDE_EFFECTS") return true;
  const id = typeof request === "object" && request !== null && "requestId" in request ? request.requestId : "";
  return typeof id === "string" && id !== "";
}

async function* attemptUnary<Request, Response>(
  policy: CallPolicy,
  call: ClientMiddlewareCall<Request, Response>,
  options: CallOptions,
  boundMs: number,
) {
  const { signal } = options;
  signal?.throwIfAborted();
  const ending = new AbortController();
  const stop = () => ending.abort();
  const timer = setTimeout(stop, boundMs);
  signal?.addEventListener("abort", stop);
  try {
    return yield* attempt(policy, call, { ...options, signal: ending.signal }, signal);
  } catch (error) {
    if (ending.signal.aborted && signal?.aborted !== true) {
      throw silence(`${policy.apiUrl} did not answer within ${LIMITS.callDeadlineMs / 1_000} s`, error);
    }
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

/** One try, whose failure is thrown as an error of the SDK, or as the reason of the caller's signal. */
async function* attempt<Request, Response>(
  policy: CallPolicy,
  call: ClientMiddlewareCall<Request, Response>,
  options: CallOptions,
  callerSignal: AbortSignal | undefined,
) {
  let details: Uint8Array | undefined;
  const onTrailer = (trailer: Metadata): void => {
    details = trailer.get(STATUS_DETAILS_TRAILER);
    options.onTrailer?.(trailer);
  };
  try {
    return yield* call.next(call.request, { ...options, onTrailer });
  } catch (error) {
    callerSignal?.throwIfAborted();
    if (!(error instanceof ClientError)) throw error;
    if (details === undefined && (error.code === Status.UNAVAILABLE || isConnectionLoss(error))) {
      const message = `the Multinode server at ${policy.apiUrl} cannot be reached: ${lastErrorOf(error.details)}`;
      throw new Unavailable(message, { code: error.code, cause: error });
    }
    throw errorFromCall(error.code, error.details, details);
  }
}

/** gRPC calls it INTERNAL where the server broke off a stream or a connection, and not the call. */
function isConnectionLoss({ code, details }: ClientError): boolean {
  return code === Status.INTERNAL && /^(Received RST_STREAM|Session closed)/.test(details);
}

/** Without what gRPC wraps around it: "connect ECONNREFUSED 127.0.0.1:7411". */
function lastErrorOf(details: string): string {
  const found = /^No connection established\. Last error: (?:Error: )?(.+?)(?:\. Resolution note: .*)?$/s.exec(details);
  return (found?.[1] ?? details).trim();
}
