/** A client of one server: the services as they are, and what the methods of functions need of them. */
import { type Channel } from "nice-grpc";
import { InvocationDoesNotExist, InvocationIsAlreadyTerminated, MultinodeError } from "../errors.js";
import type { Invocation, InvocationIdsList } from "../invocation.js";
import { LIMITS } from "../protocol/limits.js";
import { isOfRepetition } from "./call_policy.js";
import { openChannel, openServices, type Services } from "./connection.js";
import { invocationFromWire, listRequestToWire } from "./convert.js";
import { type PartialCredentials, resolveCredentials } from "./credentials.js";
import type {
  InvocationCheck,
  InvocationClient,
  ListRequest,
  StartRequest,
  StartSink,
  WatchDetail,
  WatchHandle,
  WatchSink,
  WatchUntil,
} from "./invocation_client.js";
import { checked, clientIsClosed, invocationDoesNotExist, isWhatIsAskedFor } from "./invocation_result.js";
import { latestStates } from "./latest_states.js";
import { payloadLimit } from "./payload_limit.js";
import { StartBatcher } from "./start_batcher.js";
import { WatchSession, type WatchSessionOptions } from "./watch_session.js";

/** How long a call that meets an unreachable server is tried again. */
const DEFAULT_RETRY_FOR_MS = 20_000;

/** How long a result is awaited before it is asked whether the invocation is of the function that it is awaited of. */
const LOOK_AFTER_MS = 1_000;

export interface ClientOptions extends PartialCredentials {
  /** Largest encoded input that is sent, in bytes. Default: `MULTINODE_MAX_PAYLOAD_BYTES`, then 250,000. */
  readonly maxPayloadBytes?: number | undefined;
  /** How long a call that is safe to repeat is tried again while the server cannot be reached. Default 20,000 ms. */
  readonly retryForMs?: number | undefined;
  /** How long the answer of a call is waited for before another replica is asked, in milliseconds. Default 5,000. */
  readonly answerMs?: number | undefined;
  /** A channel that is shared with others, and is left open by `close`. Default: one of its own. */
  readonly channel?: Channel | undefined;
  readonly watch?: WatchSessionOptions | undefined;
}

/**
 * Credentials come from the options, the environment or the login file. Opens no connection by itself, and one that is idle
 * does not keep the process alive; `close` ends it at once.
 */
export class MultinodeClient implements InvocationClient, Services {
  readonly maxPayloadBytes: number;
  readonly registry: Services["registry"];
  readonly apiKeys: Services["apiKeys"];
  readonly invocations: Services["invocations"];
  readonly logs: Services["logs"];
  readonly scheduler: Services["scheduler"];
  readonly #channel: Channel;
  readonly #ownsChannel: boolean;
  readonly #batcher: StartBatcher;
  readonly #watches: WatchSession;
  #isClosed = false;

  /** Throws a CredentialsMissingError, or a ParameterValidationError for a bad URL or limit. */
  constructor(options: ClientOptions = {}) {
    const { apiUrl, apiKey } = resolveCredentials(options);
    this.maxPayloadBytes = payloadLimit(options.maxPayloadBytes);
    this.#ownsChannel = options.channel === undefined;
    this.#channel = options.channel ?? openChannel(apiUrl);
    const retryForMs = options.retryForMs ?? DEFAULT_RETRY_FOR_MS;
    const answerMs = options.answerMs ?? LIMITS.answerMs;
    const onSilence = (sinceMs: number) => this.#watches.leaveSilent(sinceMs);
    const services = openServices(this.#channel, { apiUrl, credential: apiKey, retryForMs, answerMs, onSilence });
    this.registry = services.registry;
    this.apiKeys = services.apiKeys;
    this.invocations = services.invocations;
    this.logs = services.logs;
    this.scheduler = services.scheduler;
    this.#batcher = new StartBatcher(services.wholeInvocations, answerMs);
    this.#watches = new WatchSession(services.wholeInvocations, options.watch);
  }

  enqueueStart(request: StartRequest, sink: StartSink): void {
    this.#batcher.enqueue(request, sink);
  }

  start(request: StartRequest, signal?: AbortSignal): Promise<string> {
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
    return new Promise((resolve, reject) => {
      const sink = {
        abandoned: false,
        started(invocationId: string) {
          signal?.removeEventListener("abort", onAbort);
          resolve(invocationId);
        },
        notStarted(error: Error) {
          signal?.removeEventListener("abort", onAbort);
          reject(error);
        },
      };
      const onAbort = () => {
        sink.abandoned = true;
        reject(signal?.reason as Error);
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#batcher.enqueue(request, sink);
    });
  }

  async get(invocationId: string, check: InvocationCheck, signal?: AbortSignal): Promise<Invocation> {
    this.#refuseClosed();
    const request = { invocationId, ...checked(check) };
    return present((await this.invocations.getInvocation(request, withSignal(signal))).invocation);
  }

  async cancel(invocationId: string, check: InvocationCheck, signal?: AbortSignal): Promise<Invocation> {
    this.#refuseClosed();
    const request = { invocationId, ...checked(check) };
    try {
      return present((await this.invocations.cancelInvocation(request, withSignal(signal))).invocation);
    } catch (error) {
      if (!(error instanceof InvocationIsAlreadyTerminated && isOfRepetition(error))) throw error;
      // The first try was carried out, and only its answer lost.
      const found = await this.get(invocationId, check, signal);
      if (found.cancelRequestedAt === undefined) throw error;
      return found;
    }
  }

  async list(request: ListRequest, signal?: AbortSignal): Promise<InvocationIdsList> {
    this.#refuseClosed();
    const page = await this.invocations.listInvocations(listRequestToWire(request), withSignal(signal));
    const invocations = page.invocations.map(invocationFromWire);
    return { invocationIds: invocations.map(({ id }) => id), invocations, offset: page.nextOffset || undefined };
  }

  follow(invocationId: string, detail: WatchDetail, until: WatchUntil, sink: WatchSink): WatchHandle {
    return this.#watches.follow(invocationId, detail, until, sink);
  }

  awaitFinished(invocationId: string, signal?: AbortSignal, check?: InvocationCheck): Promise<Invocation> {
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
    return new Promise((resolve, reject) => {
      const settled = () => {
        clearTimeout(looking);
        signal?.removeEventListener("abort", onAbort);
      };
      const handle = this.#watches.follow(invocationId, "end", "finished", {
        changed(invocation) {
          settled();
          if (isWhatIsAskedFor(invocation, check)) resolve(invocation);
          else reject(invocationDoesNotExist(invocation.id));
        },
        unwatchable(error) {
          settled();
          reject(error);
        },
      });
      const give = (reason: unknown) => {
        settled();
        handle.close();
        reject(reason as Error);
      };
      const onAbort = () => give(signal?.reason);
      // The stream tells of the end alone: that it is another function's is not to be heard of only then.
      const look = (asked: InvocationCheck) =>
        this.get(invocationId, asked, signal).catch((error: unknown) => {
          if (error instanceof InvocationDoesNotExist) give(error);
        });
      const looking = check === undefined ? undefined : setTimeout(() => void look(check), LOOK_AFTER_MS).unref();
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  watch(
    invocationId: string,
    until: WatchUntil,
    signal?: AbortSignal,
    check?: InvocationCheck,
  ): AsyncGenerator<Invocation, void, undefined> {
    return latestStates((sink) => this.follow(invocationId, "changes", until, sink), until, signal, check);
  }

  #refuseClosed(): void {
    if (this.#isClosed) throw clientIsClosed();
  }

  close(): Promise<void> {
    this.#isClosed = true;
    this.#batcher.close();
    this.#watches.close();
    if (this.#ownsChannel) this.#channel.close();
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function withSignal(signal: AbortSignal | undefined): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

function present(wire: Parameters<typeof invocationFromWire>[0] | undefined): Invocation {
  if (wire === undefined) throw new MultinodeError("Internal", "the server answered without an invocation");
  return invocationFromWire(wire);
}
