/** The input of `map`: an iterable, sync or async. */

/** Where inputs go. */
export interface InputSink {
  /** Whether no more inputs are wanted for now. */
  readonly isFull: boolean;
  add(input: unknown): void;
  /** Inputs were added, or there are no more. Called for an async input only. */
  wake(): void;
}

/** Reads the input, of either kind, as far as the window allows. */
export class InputReader {
  isDone = false;
  failure: { readonly error: unknown } | undefined = undefined;
  readonly #sink: InputSink;
  readonly #sync: Iterator<unknown> | undefined;
  readonly #async: AsyncIterator<unknown> | undefined;
  #isReading = false;

  constructor(inputs: Iterable<unknown> | AsyncIterable<unknown>, sink: InputSink) {
    this.#sink = sink;
    if (Symbol.asyncIterator in inputs) this.#async = inputs[Symbol.asyncIterator]();
    else this.#sync = inputs[Symbol.iterator]();
  }

  fill(): void {
    while (!this.isDone && !this.#sink.isFull && !this.#isReading) {
      if (this.#async !== undefined) {
        void this.#readAsync(this.#async);
        return;
      }
      try {
        this.#accept(this.#sync?.next());
      } catch (error) {
        this.#fail(error);
      }
    }
  }

  /** Stops reading. An input that is waiting for its next value is told, but not waited for. */
  async close(): Promise<void> {
    if (this.isDone) return;
    this.isDone = true;
    if (this.#async === undefined) {
      this.#sync?.return?.();
      return;
    }
    const closed = end(this.#async);
    if (this.#isReading) closed.catch(() => undefined);
    else await closed;
  }

  /** Does not reject. */
  async #readAsync(inputs: AsyncIterator<unknown>): Promise<void> {
    this.#isReading = true;
    try {
      const step = await inputs.next();
      if (!this.isDone) this.#accept(step);
    } catch (error) {
      this.#fail(error);
    }
    this.#isReading = false;
    this.fill();
    this.#sink.wake();
  }

  #accept(step: IteratorResult<unknown> | undefined): void {
    if (step === undefined) throw new TypeError("the next step of the inputs is no object");
    if (step.done === true) this.isDone = true;
    else this.#sink.add(step.value);
  }

  /** What was read before is still yielded; then the error of the input is thrown. */
  #fail(error: unknown): void {
    this.isDone = true;
    this.failure = { error };
  }
}

/** What it does may throw at once, whatever its type says. */
async function end(inputs: AsyncIterator<unknown>): Promise<void> {
  await inputs.return?.();
}
