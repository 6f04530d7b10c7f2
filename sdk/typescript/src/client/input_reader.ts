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
      if (this.#sync === undefined) {
        this.#readAsync();
        return;
      }
      try {
        this.#accept(this.#sync.next());
      } catch (error) {
        this.#fail(error);
      }
    }
  }

  /** Stops reading. An input that is waiting for its next value is told, but not waited for. */
  async close(): Promise<void> {
    if (this.isDone) return;
    this.isDone = true;
    if (this.#sync !== undefined) {
      this.#sync.return?.();
      return;
    }
    const closed = this.#async?.return?.();
    if (this.#isReading) closed?.catch(() => undefined);
    else await closed;
  }

  #readAsync(): void {
    this.#isReading = true;
    this.#async?.next().then(
      (step) => {
        this.#isReading = false;
        if (this.isDone) return;
        this.#accept(step);
        this.fill();
        this.#sink.wake();
      },
      (error: unknown) => {
        this.#isReading = false;
        this.#fail(error);
        this.#sink.wake();
      },
    );
  }

  #accept(step: IteratorResult<unknown>): void {
    if (step.done === true) this.isDone = true;
    else this.#sink.add(step.value);
  }

  /** What was read before is still yielded; then the error of the input is thrown. */
  #fail(error: unknown): void {
    this.isDone = true;
    this.failure = { error };
  }
}
