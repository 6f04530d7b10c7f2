/**
 * `map` and `starmap`: many invocations, a bounded window of them in flight.
 *
 * The window counts inputs that were read and whose result was not yielded, so memory is bounded by it, however long the
 * input is. One small object stands for each input; starts and ends are told to it by the client's batch of starts and its
 * one watch stream, and the consumer is woken once for all that happened meanwhile.
 */

import { setTimeout as delay } from "node:timers/promises";
import { OptionCheck } from "../definition/option_check.js";
import { MultinodeError, Unavailable } from "../errors.js";
import type { Invocation } from "../invocation.js";
import { LIMITS } from "../protocol/limits.js";
import { Fifo } from "./fifo.js";
import { InputReader } from "./input_reader.js";
import type { InvocationClient, StartRequest, StartSink, WatchHandle, WatchSink } from "./invocation_client.js";
import { errorOf } from "./invocation_result.js";

export interface MapOptions {
  /** Most invocations in flight, 1 to 100,000. Default 1,000. */
  readonly window?: number | undefined;
  /** Whether results come in the order of the inputs, or as they are ready. Default "input". */
  readonly order?: "input" | "completed" | undefined;
  /** Whether an error is thrown, which ends the iteration, or yielded as a value. Default "throw". */
  readonly errors?: "throw" | "return" | undefined;
  /** Whether invocations that are still in flight when the iteration ends early are cancelled. Default false. */
  readonly cancelRest?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

const MAP_OPTIONS = [
  "window",
  "order",
  "errors",
  "cancelRest",
  "signal",
] as const satisfies readonly (keyof MapOptions)[];

export interface MapTarget {
  /** For errors. */
  readonly method: "map" | "starmap";
  readonly client: InvocationClient;
  /** Of all starts; ":" and the place of the input come behind it. */
  readonly idempotencyKey: string | undefined;
  /** What ends the iteration besides its own signal. Asked when the options have been checked. */
  signalOf(own: AbortSignal | undefined): AbortSignal | undefined;
  requestOf(input: unknown, index: number): StartRequest;
}

const DEFAULT_WINDOW = 1_000;
/**
 * A window that was full is filled again when this part of it is free, or has been for a while: what is started together has one
 * commit of the server, while starts that follow single results would each have their own.
 */
const REFILLED_PART = 1 / 16;
const REFILLED_AFTER_MS = 50;
/** Cancellations that are on their way at the same time. */
const CANCELLATIONS_AT_ONCE = 32;

/** How long cancellations hold up whoever has ended the iteration; they go on after that. */
const LONGEST_CANCEL_MS = 5_000;

/** Characters kept free in an idempotency key for ":" and the place of an input. */
const PLACE_LENGTH = 10;

const ANY_INVOCATION = { projectName: "", functionName: "", versionId: "" };

export async function* mapInvocations(
  target: MapTarget,
  inputs: Iterable<unknown> | AsyncIterable<unknown>,
  options: MapOptions,
): AsyncGenerator<unknown, void, undefined> {
  checkMap(target, inputs, options);
  const { window = DEFAULT_WINDOW, order = "input", errors = "throw", cancelRest = false } = options;
  const signal = target.signalOf(options.signal);
  signal?.throwIfAborted();
  const run = new MapRun(target, window, order === "input");
  const onAbort = () => run.wake();
  signal?.addEventListener("abort", onAbort);
  const reader = new InputReader(inputs, run);
  let isThrowing = false;
  try {
    for (;;) {
      signal?.throwIfAborted();
      reader.fill();
      const item = run.take();
      if (item !== undefined) {
        if (item.error === undefined) yield item.result;
        else if (errors === "return") yield item.error;
        else throw item.error;
      } else if (reader.isDone && run.isEmpty) {
        if (reader.failure !== undefined) throw reader.failure.error;
        return;
      } else {
        await run.awake();
      }
    }
  } catch (error) {
    isThrowing = true;
    throw error;
  } finally {
    signal?.removeEventListener("abort", onAbort);
    const rest = run.close();
    const cancelling = cancelRest ? cancelAll(target.client, rest) : undefined;
    try {
      const closing = reader.close();
      // As in a loop of the language, the error that ended it goes before one of the input's end.
      if (isThrowing) closing.catch(() => undefined);
      if (signal?.aborted !== true) await (isThrowing ? closing.catch(() => undefined) : closing);
    } finally {
      if (cancelling !== undefined) await atMost(LONGEST_CANCEL_MS, cancelling);
    }
  }
}

function checkMap({ method, idempotencyKey }: MapTarget, inputs: unknown, options: MapOptions): void {
  const check = new OptionCheck();
  check.text("idempotencyKey", idempotencyKey, { min: 1, max: LIMITS.idempotencyKeyLength - PLACE_LENGTH });
  // A text can be iterated over too: letter by letter, which nobody means.
  const isIterable =
    typeof inputs === "object" && inputs !== null && (Symbol.iterator in inputs || Symbol.asyncIterator in inputs);
  if (!isIterable) check.violation("inputs", inputs, "must be a list, or another iterable or async iterable");
  if (check.names("", options, MAP_OPTIONS)) {
    check.integer("window", options.window, { min: 1, max: LIMITS.watchTargets });
    check.oneOf("order", options.order, ["input", "completed"]);
    check.oneOf("errors", options.errors, ["throw", "return"]);
    check.boolean("cancelRest", options.cancelRest);
    check.signal("signal", options.signal);
  }
  check.throwIfAny(method);
}

/** One input: what became of it. */
class MapItem implements StartSink, WatchSink {
  readonly input: unknown;
  readonly index: number;
  isDone = false;
  /** Whether nobody wants its start any more. */
  abandoned = false;
  result: unknown = undefined;
  error: MultinodeError | undefined = undefined;
  invocationId: string | undefined = undefined;
  watch: WatchHandle | undefined = undefined;
  readonly #run: MapRun;

  constructor(run: MapRun, input: unknown, index: number) {
    this.#run = run;
    this.input = input;
    this.index = index;
  }

  started(invocationId: string): void {
    this.invocationId = invocationId;
    if (this.#run.isClosed) this.#run.settled();
    else this.watch = this.#run.client.follow(invocationId, "end", "finished", this);
  }

  notStarted(error: Error): void {
    if (this.#run.isClosed) this.#run.settled();
    else this.#finish(undefined, error);
  }

  changed(invocation: Invocation): void {
    this.#finish(invocation.result, errorOf(invocation));
  }

  unwatchable(error: Error): void {
    this.#finish(undefined, error);
  }

  #finish(result: unknown, error: Error | undefined): void {
    this.result = result;
    if (error !== undefined) this.error = namingInput(error, this.input, this.index);
    this.isDone = true;
    this.#run.finished(this);
  }
}

/** All inputs in flight. */
class MapRun {
  readonly client: InvocationClient;
  isClosed = false;
  readonly #target: MapTarget;
  readonly #window: number;
  readonly #inInputOrder: boolean;
  /** In input order: every item in flight. As completed: the finished ones, and `#open` holds the rest. */
  readonly #queue = new Fifo<MapItem>();
  readonly #open = new Set<MapItem>();
  #outstanding = 0;
  /** Until the window is full. */
  #isFilling = true;
  #fillTimer: NodeJS.Timeout | undefined;
  #wake: (() => void) | undefined;
  #nextIndex = 0;
  #unsettled = 0;
  #allSettled: (() => void) | undefined;

  constructor(target: MapTarget, window: number, inInputOrder: boolean) {
    this.client = target.client;
    this.#target = target;
    this.#window = window;
    this.#inInputOrder = inInputOrder;
  }

  get isFull(): boolean {
    const free = this.#window - this.#outstanding;
    if (free <= 0) this.#isFilling = false;
    else if (free >= this.#window * REFILLED_PART) this.#fill();
    else if (!this.#isFilling) this.#fillTimer ??= setTimeout(() => this.#fill(), REFILLED_AFTER_MS);
    return !this.#isFilling;
  }

  get isEmpty(): boolean {
    return this.#outstanding === 0;
  }

  #fill(): void {
    clearTimeout(this.#fillTimer);
    this.#fillTimer = undefined;
    if (this.#isFilling) return;
    this.#isFilling = true;
    this.wake();
  }

  add(input: unknown): void {
    const item = new MapItem(this, input, this.#nextIndex);
    this.#nextIndex += 1;
    this.#outstanding += 1;
    this.#open.add(item);
    if (this.#inInputOrder) this.#queue.push(item);
    let request: StartRequest;
    try {
      request = this.#target.requestOf(input, item.index);
    } catch (error) {
      item.notStarted(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.client.enqueueStart(request, item);
  }

  finished(item: MapItem): void {
    this.#open.delete(item);
    if (!this.#inInputOrder) this.#queue.push(item);
    this.wake();
  }

  /** The next item to yield, if there is one. */
  take(): MapItem | undefined {
    if (this.#queue.peek()?.isDone !== true) return undefined;
    this.#outstanding -= 1;
    return this.#queue.shift();
  }

  /** Resolves when something has happened since the last look. */
  awake(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  wake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  /** Lets go of everything in flight. Answers the ids of the invocations, when those being started are known too. */
  close(): Promise<string[]> {
    this.isClosed = true;
    clearTimeout(this.#fillTimer);
    const rest = [...this.#open];
    for (const item of rest) {
      item.watch?.close();
      if (item.invocationId === undefined) {
        item.abandoned = true;
        this.#unsettled += 1;
      }
    }
    const ids = () => rest.flatMap((item) => (item.invocationId === undefined ? [] : [item.invocationId]));
    if (this.#unsettled === 0) return Promise.resolve(ids());
    return new Promise((resolve) => {
      this.#allSettled = () => resolve(ids());
    });
  }

  settled(): void {
    this.#unsettled -= 1;
    if (this.#unsettled === 0) this.#allSettled?.();
  }
}

function namingInput(error: Error, input: unknown, index: number): MultinodeError {
  const named =
    error instanceof MultinodeError ? error : new MultinodeError(error.name, error.message, { cause: error });
  named.message = `input ${index}: ${named.message}`;
  named.inputIndex = index;
  named.input = input;
  return named;
}

async function atMost(boundMs: number, work: Promise<void>): Promise<void> {
  const over = new AbortController();
  const bound = delay(boundMs, undefined, { ref: false, signal: over.signal }).catch(() => undefined);
  await Promise.race([work, bound]).finally(() => over.abort());
}

async function cancelAll(client: InvocationClient, rest: Promise<string[]>): Promise<void> {
  const ids = await rest;
  const cancelNext = async (): Promise<void> => {
    for (let id = ids.pop(); id !== undefined; id = ids.pop()) {
      await client.cancel(id, ANY_INVOCATION).catch((error: unknown) => {
        // One that has ended meanwhile needs no cancellation. A server that is away was waited for.
        if (error instanceof Unavailable) ids.length = 0;
      });
    }
  };
  await Promise.all(Array.from({ length: CANCELLATIONS_AT_ONCE }, cancelNext));
}
