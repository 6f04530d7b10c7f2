/** The methods that a function has in an application and inside another function. */
import {
  checkPayloadSize,
  type EncodedArguments,
  encodeArguments,
  PayloadSizeLimitExceeded,
  payloadSizeBytes,
  type WirePayload,
} from "./codec.js";
import { FunctionInputSizeLimitExceeded, type MultinodeError, ParameterValidationError } from "./errors.js";
import type { Invocation, InvocationIdsList, InvocationStatus } from "./invocation.js";
import type { InvocationClient, StartRequest, WatchUntil } from "./invocation_client.js";
import { resultOf } from "./invocation_result.js";
import { type MapOptions, mapInvocations } from "./map_invocations.js";
import { LIMITS } from "./protocol/limits.js";
import { DURATION_RULE, type Duration, parseDurationMs } from "./units.js";

/** Where the calls of a function go. */
export interface FunctionTarget {
  readonly client: InvocationClient;
  /** Empty: the caller's own, which the server knows from its token. The same holds for the version. */
  readonly projectName: string;
  readonly versionId: string;
  readonly functionName: string;
  /** The project whose invocations `list` lists. */
  readonly listProjectName: string;
  /** Aborts when the function that is calling is interrupted; every pending call then rejects with its reason. */
  readonly interruption: AbortSignal | undefined;
}

/** How invocations are started, and until when their results are awaited. */
export interface InvocationOptions {
  /**
   * 1 to 128 characters, unique in the project. For 24 hours a repeated start with the same key and arguments answers the
   * first invocation. `map` and `starmap` add ":" and the place of the input.
   */
  readonly idempotencyKey?: string | undefined;
  /** An invocation that has not begun by then is TIMED_OUT, and never begins. Default: no limit. At most 365 days. */
  readonly ttl?: Duration | undefined;
  /** Stops the call; the invocation is left alone. */
  readonly signal?: AbortSignal | undefined;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface ListOptions extends CallOptions {
  /** `offset` of the page before, listed with the same filters. Default: the first page. */
  readonly offset?: string | undefined;
  /** 1 to 1,000. Default 50. */
  readonly pageSize?: number | undefined;
  readonly status?: InvocationStatus | readonly InvocationStatus[] | undefined;
  /** Only children of this invocation. */
  readonly parent?: string | undefined;
  readonly versionId?: string | undefined;
  /** Only those created at this time or later. */
  readonly createdFrom?: Date | undefined;
  /** Only those created before this time. */
  readonly createdBefore?: Date | undefined;
}

export interface WatchOptions extends CallOptions {
  /** When the stream ends. Default "finished". */
  readonly until?: WatchUntil | undefined;
}

export interface AwaitOptions extends CallOptions {
  /** Whether aborting the signal also cancels the invocation. Default false. */
  readonly cancelOnAbort?: boolean | undefined;
}

/**
 * A function that runs remotely. Every method that talks to the server may throw one of the classes of `errors`, and, once
 * its signal has aborted, the signal's reason.
 */
export class FunctionHandle<Args extends unknown[], Result> {
  readonly #resolve: () => FunctionTarget;
  readonly #options: InvocationOptions;

  constructor(resolve: () => FunctionTarget, options: InvocationOptions = {}) {
    this.#resolve = resolve;
    this.#options = options;
  }

  /** The same function, whose invocations are started with these options. Throws a ParameterValidationError. */
  withOptions(options: InvocationOptions): FunctionHandle<Args, Result> {
    checkInvocationOptions(options);
    return new FunctionHandle<Args, Result>(this.#resolve, { ...this.#options, ...options });
  }

  /** Starts an invocation and answers its id, as soon as it is stored durably. */
  async start(...args: Args): Promise<string> {
    const target = this.#resolve();
    return target.client.start(this.#request(target, args, undefined), this.#signal(target, undefined));
  }

  /** The invocation as it is now. */
  async get(invocationId: string, options: CallOptions = {}): Promise<Invocation<Result>> {
    const target = this.#resolve();
    const found = await target.client.get(invocationId, target, this.#signal(target, options.signal));
    return found as Invocation<Result>;
  }

  /** Asks for an invocation to end. May be repeated; throws InvocationIsAlreadyTerminated where it is terminated. */
  async cancel(invocationId: string, options: CallOptions = {}): Promise<void> {
    const target = this.#resolve();
    await target.client.cancel(invocationId, target, this.#signal(target, options.signal));
  }

  /** One page of the function's invocations, newest first. */
  async list(options: ListOptions = {}): Promise<InvocationIdsList<Result>> {
    const target = this.#resolve();
    const { status = [] } = options;
    const page = await target.client.list(
      {
        projectName: target.listProjectName,
        functionName: target.functionName,
        versionId: options.versionId ?? "",
        statuses: typeof status === "string" ? [status] : status,
        parentInvocationId: options.parent ?? "",
        createdFromMs: options.createdFrom?.getTime(),
        createdBeforeMs: options.createdBefore?.getTime(),
        pageSize: options.pageSize ?? 0,
        offset: options.offset ?? "",
      },
      this.#signal(target, options.signal),
    );
    return page as InvocationIdsList<Result>;
  }

  /**
   * The invocation as it is now, then every change, up to the finished state. A reader that is slower than the changes is
   * given the newest one.
   */
  watch(invocationId: string, options: WatchOptions = {}): AsyncGenerator<Invocation<Result>, void, undefined> {
    const target = this.#resolve();
    const signal = this.#signal(target, options.signal);
    const states = target.client.watch(invocationId, options.until ?? "finished", signal, target);
    return states as AsyncGenerator<Invocation<Result>, void, undefined>;
  }

  /**
   * Waits for the result. Throws InvocationFailedError, InvocationCancelledError or InvocationTimedOutError where there is
   * none. Aborting the signal stops the waiting and leaves the invocation alone, unless `cancelOnAbort` is set.
   */
  async awaitResult(invocationId: string, options: AwaitOptions = {}): Promise<Result> {
    const target = this.#resolve();
    const signal = this.#signal(target, options.signal);
    try {
      return resultOf(await target.client.awaitFinished(invocationId, signal, target)) as Result;
    } catch (error) {
      if (options.cancelOnAbort === true && signal?.aborted === true) {
        // The waiting ends at once; the cancellation may take as long as it needs, or be too late.
        target.client.cancel(invocationId, target).catch(() => undefined);
      }
      throw error;
    }
  }

  /** Starts an invocation and waits for its result: `start`, then `awaitResult`. */
  async callRemote(...args: Args): Promise<Result> {
    const target = this.#resolve();
    const signal = this.#signal(target, undefined);
    const invocationId = await target.client.start(this.#request(target, args, undefined), signal);
    return resultOf(await target.client.awaitFinished(invocationId, signal)) as Result;
  }

  /**
   * Starts an invocation for each input and yields the results. A bounded window of invocations is in flight, so an endless
   * input works in constant memory. An error is thrown at the place of its input, and names it.
   */
  map(
    inputs: Iterable<Args[0]> | AsyncIterable<Args[0]>,
    options: MapOptions & { readonly errors: "return" },
  ): AsyncGenerator<Result | MultinodeError, void, undefined>;
  map(
    inputs: Iterable<Args[0]> | AsyncIterable<Args[0]>,
    options?: MapOptions,
  ): AsyncGenerator<Result, void, undefined>;
  map(inputs: Iterable<unknown> | AsyncIterable<unknown>, options: MapOptions = {}) {
    return this.#map(inputs, options, (input) => [input]);
  }

  /** The same as `map`, for lists of arguments. */
  starmap(
    inputs: Iterable<Readonly<Args>> | AsyncIterable<Readonly<Args>>,
    options: MapOptions & { readonly errors: "return" },
  ): AsyncGenerator<Result | MultinodeError, void, undefined>;
  starmap(
    inputs: Iterable<Readonly<Args>> | AsyncIterable<Readonly<Args>>,
    options?: MapOptions,
  ): AsyncGenerator<Result, void, undefined>;
  starmap(inputs: Iterable<readonly unknown[]> | AsyncIterable<readonly unknown[]>, options: MapOptions = {}) {
    return this.#map(inputs, options, (input) => input as readonly unknown[]);
  }

  #map(
    inputs: Iterable<unknown> | AsyncIterable<unknown>,
    options: MapOptions,
    argumentsOf: (input: unknown) => readonly unknown[],
  ): AsyncGenerator<Result, void, undefined> {
    const target = this.#resolve();
    const results = mapInvocations(
      {
        client: target.client,
        signal: this.#signal(target, options.signal),
        requestOf: (input, index) => this.#request(target, argumentsOf(input), index),
      },
      inputs,
      options,
    );
    return results as AsyncGenerator<Result, void, undefined>;
  }

  #request(target: FunctionTarget, args: readonly unknown[], mapIndex: number | undefined): StartRequest {
    const { idempotencyKey = "", ttl } = this.#options;
    return {
      projectName: target.projectName,
      versionId: target.versionId,
      functionName: target.functionName,
      arguments: encodeChecked(args, target.client.maxPayloadBytes),
      idempotencyKey:
        idempotencyKey === "" || mapIndex === undefined ? idempotencyKey : `${idempotencyKey}:${mapIndex}`,
      ttlMs: ttl === undefined ? undefined : parseDurationMs(ttl),
    };
  }

  #signal(target: FunctionTarget, own: AbortSignal | undefined): AbortSignal | undefined {
    const signals = [own, this.#options.signal, target.interruption].filter((signal) => signal !== undefined);
    return signals.length < 2 ? signals[0] : AbortSignal.any(signals);
  }
}

function encodeChecked(args: readonly unknown[], limitBytes: number): EncodedArguments<WirePayload> {
  const encoded = encodeArguments(args);
  try {
    checkPayloadSize(encoded, "the input", limitBytes);
  } catch (error) {
    if (!(error instanceof PayloadSizeLimitExceeded)) throw error;
    throw new FunctionInputSizeLimitExceeded(error.message, {
      metadata: { size: String(payloadSizeBytes(encoded)), limit: String(error.limitBytes) },
    });
  }
  return encoded;
}

function checkInvocationOptions({ idempotencyKey, ttl }: InvocationOptions): void {
  const violations = [];
  if (idempotencyKey !== undefined && (idempotencyKey === "" || idempotencyKey.length > LIMITS.idempotencyKeyLength)) {
    violations.push({
      field: "idempotencyKey",
      description: `has ${idempotencyKey.length} characters; it must have 1 to ${LIMITS.idempotencyKeyLength}`,
    });
  }
  const ttlMs = ttl === undefined ? 1 : parseDurationMs(ttl);
  if (ttlMs === undefined || ttlMs < 1 || ttlMs > LIMITS.ttlMs) {
    violations.push({
      field: "ttl",
      description: `${String(ttl)} must be ${DURATION_RULE}, above 0 and at most 365 days`,
    });
  }
  if (violations.length === 0) return;
  const text = violations.map(({ field, description }) => `${field}: ${description}`).join("; ");
  throw new ParameterValidationError(`bad invocation option: ${text}`, { violations });
}
