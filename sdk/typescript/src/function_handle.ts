/** The methods that a function has in an application and inside another function. */

import {
  type AwaitOptions,
  argumentList,
  type CallOptions,
  checkAwait,
  checkCall,
  checkInvocationOptions,
  checkList,
  checkWatch,
  type InvocationOptions,
  type ListOptions,
  type WatchOptions,
} from "./client/call_options.js";
import type { InvocationClient, StartRequest } from "./client/invocation_client.js";
import { resultOf } from "./client/invocation_result.js";
import { type MapOptions, mapInvocations } from "./client/map_invocations.js";
import { parseDurationMs } from "./definition/units.js";
import { FunctionInputSizeLimitExceeded, type MultinodeError } from "./errors.js";
import type { Invocation, InvocationIdsList } from "./invocation.js";
import {
  checkPayloadSize,
  type EncodedArguments,
  encodeArguments,
  PayloadSizeLimitExceeded,
  payloadSizeBytes,
} from "./values/codec.js";

/** Where the calls of a function go. */
export interface FunctionTarget {
  readonly client: InvocationClient;
  /** Empty: the caller's own, which the server knows from its token. The same holds for the version. */
  readonly projectName: string;
  readonly versionId: string;
  readonly functionName: string;
  /**
   * Aborts when the function that is calling is interrupted; every pending call then rejects with its reason, and so does what
   * it starts or waits for afterwards. It may still look at invocations, and cancel them, to clean up.
   */
  readonly interruption: AbortSignal | undefined;
}

/** What `map` takes: of a function that needs several arguments, nothing. */
export type OnlyArgument<Args extends unknown[]> = [Exclude<Args[0], undefined>] extends Args
  ? Args[0]
  : "the function does not take one argument: use starmap";

/**
 * A function that runs remotely. `Result` is what its invocations end with, `Shown` what `get`, `watch` and `list` show of
 * them: of a generator, also what it yields.
 *
 * Every method that talks to the server may throw one of the classes of `errors`, and, once
 * its signal has aborted, the signal's reason.
 */
export class FunctionHandle<Args extends unknown[], Result, Shown = Result> {
  readonly #resolve: () => FunctionTarget;
  readonly #options: InvocationOptions;

  constructor(resolve: () => FunctionTarget, options: InvocationOptions = {}) {
    this.#resolve = resolve;
    this.#options = options;
  }

  /** The same function, whose invocations are started with these options. Throws a ParameterValidationError. */
  withOptions(options: InvocationOptions): FunctionHandle<Args, Result, Shown> {
    checkInvocationOptions(options);
    return new FunctionHandle<Args, Result, Shown>(this.#resolve, { ...this.#options, ...options });
  }

  /** Starts an invocation and answers its id, as soon as it is stored durably. */
  async start(...args: Args): Promise<string> {
    const target = this.#resolve();
    return target.client.start(this.#request(target, args, undefined), this.#signal(target, undefined));
  }

  /** The invocation as it is now. */
  async get(invocationId: string, options: CallOptions = {}): Promise<Invocation<Shown>> {
    checkCall("get", invocationId, options);
    const target = this.#resolve();
    const found = await target.client.get(invocationId, target, this.#signalOfCleaning(target, options.signal));
    return found as Invocation<Shown>;
  }

  /** Asks for an invocation to end. May be repeated; throws InvocationIsAlreadyTerminated where it is terminated. */
  async cancel(invocationId: string, options: CallOptions = {}): Promise<void> {
    checkCall("cancel", invocationId, options);
    const target = this.#resolve();
    await target.client.cancel(invocationId, target, this.#signalOfCleaning(target, options.signal));
  }

  /** One page of the function's invocations, newest first. */
  async list(options: ListOptions = {}): Promise<InvocationIdsList<Shown>> {
    checkList(options);
    const target = this.#resolve();
    const { status = [] } = options;
    const page = await target.client.list(
      {
        projectName: target.projectName,
        functionName: target.functionName,
        versionId: options.versionId ?? target.versionId,
        statuses: typeof status === "string" ? [status] : status,
        parentInvocationId: options.parent ?? "",
        createdFromMs: options.createdFrom?.getTime(),
        createdBeforeMs: options.createdBefore?.getTime(),
        pageSize: options.pageSize ?? 0,
        offset: options.offset ?? "",
      },
      this.#signalOfCleaning(target, options.signal),
    );
    return page as InvocationIdsList<Shown>;
  }

  /**
   * The invocation as it is now, then every change, up to the finished state. A reader that is slower than the changes is
   * given each status, with the newest of the values yielded meanwhile.
   */
  watch(invocationId: string, options: WatchOptions = {}): AsyncGenerator<Invocation<Shown>, void, undefined> {
    checkWatch(invocationId, options);
    const target = this.#resolve();
    const signal = this.#signal(target, options.signal);
    const states = target.client.watch(invocationId, options.until ?? "finished", signal, target);
    return states as AsyncGenerator<Invocation<Shown>, void, undefined>;
  }

  /**
   * Waits for the result. Throws InvocationFailedError, InvocationCancelledError or InvocationTimedOutError where there is
   * none. Aborting the signal stops the waiting and leaves the invocation alone, unless `cancelOnAbort` is set.
   */
  async awaitResult(invocationId: string, options: AwaitOptions = {}): Promise<Result> {
    checkAwait(invocationId, options);
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

  /**
   * Starts an invocation and waits for its result: `start`, then `awaitResult`. With the option `cancelOnAbort` of `withOptions`
   * aborting its signal cancels the invocation too.
   */
  async callRemote(...args: Args): Promise<Result> {
    const target = this.#resolve();
    const signal = this.#signal(target, undefined);
    const request = this.#request(target, args, undefined);
    if (this.#options.cancelOnAbort !== true) {
      const invocationId = await target.client.start(request, signal);
      return resultOf(await target.client.awaitFinished(invocationId, signal)) as Result;
    }
    signal?.throwIfAborted();
    // Of one whose start is under way the id is still waited for, to cancel it.
    const starting = target.client.start(request);
    try {
      const invocationId = await orAborted(starting, signal);
      return resultOf(await target.client.awaitFinished(invocationId, signal)) as Result;
    } catch (error) {
      if (signal?.aborted === true) starting.then((id) => target.client.cancel(id, target)).catch(() => undefined);
      throw error;
    }
  }

  /**
   * Starts an invocation for each input and yields the results. A bounded window of invocations is in flight, so an endless
   * input works in constant memory. An error is thrown at the place of its input, and names it.
   */
  map(
    inputs: Iterable<OnlyArgument<Args>> | AsyncIterable<OnlyArgument<Args>>,
    options: MapOptions & { readonly errors: "return" },
  ): AsyncGenerator<Result | MultinodeError, void, undefined>;
  map(
    inputs: Iterable<OnlyArgument<Args>> | AsyncIterable<OnlyArgument<Args>>,
    options?: MapOptions,
  ): AsyncGenerator<Result, void, undefined>;
  map(inputs: Iterable<unknown> | AsyncIterable<unknown>, options: MapOptions = {}) {
    return this.#map("map", inputs, options, (input) => [input]);
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
    return this.#map("starmap", inputs, options, argumentList);
  }

  #map(
    method: "map" | "starmap",
    inputs: Iterable<unknown> | AsyncIterable<unknown>,
    options: MapOptions,
    argumentsOf: (input: unknown, index: number) => readonly unknown[],
  ): AsyncGenerator<Result, void, undefined> {
    const target = this.#resolve();
    const results = mapInvocations(
      {
        method,
        client: target.client,
        idempotencyKey: this.#options.idempotencyKey,
        signalOf: (own) => this.#signal(target, own),
        requestOf: (input, index) => this.#request(target, argumentsOf(input, index), index),
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

  /** Of a call by which a function that was interrupted may clean up. */
  #signalOfCleaning(target: FunctionTarget, own: AbortSignal | undefined): AbortSignal | undefined {
    return this.#signal(target.interruption?.aborted === true ? { ...target, interruption: undefined } : target, own);
  }

  #signal(target: FunctionTarget, own: AbortSignal | undefined): AbortSignal | undefined {
    const signals = [own, this.#options.signal, target.interruption].filter((signal) => signal !== undefined);
    return signals.length < 2 ? signals[0] : AbortSignal.any(signals);
  }
}

async function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason as Error);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function encodeChecked(args: readonly unknown[], limitBytes: number): EncodedArguments {
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
