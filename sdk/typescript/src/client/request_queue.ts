/** Messages for the sending side of a stream: pushed by one, read by the stream. */
export class RequestQueue<T> implements AsyncIterable<T>, AsyncIterator<T, undefined> {
  readonly #messages: T[] = [];
  #waiting: ((step: IteratorResult<T, undefined>) => void) | undefined;
  #isClosed = false;

  push(message: T): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting !== undefined) waiting({ done: false, value: message });
    else if (!this.#isClosed) this.#messages.push(message);
  }

  /** Ends the sending side after what was pushed. */
  close(): void {
    this.#isClosed = true;
    this.#waiting?.({ done: true, value: undefined });
    this.#waiting = undefined;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const message = this.#messages.shift();
    if (message !== undefined) return Promise.resolve({ done: false, value: message });
    if (this.#isClosed) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
