/** Work of one kind that is done by one at a time, so that however many ask for it, all else has its turn in between. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { Refusal } from "./errors.js";

export class Turns {
  readonly #most: number;
  readonly #what: string;
  #count = 0;
  #last: Promise<unknown> = Promise.resolve();

  /**
   * @param most that do it or wait for it
   * @param what they are called in an error, such as "listings"
   */
  constructor(most: number, what: string) {
    this.#most = most;
    this.#what = what;
  }

  /**
   * Answers what `work` does when it is its turn.
   * @throws Refusal ResourceExhausted where too many wait, and the signal's reason once that has aborted
   */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (this.#count >= this.#most) {
      const limit = String(this.#most);
      throw new Refusal("ResourceExhausted", `${limit} ${this.#what} wait for their turn`, { metadata: { limit } });
    }
    this.#count += 1;
    const before = this.#last;
    const { promise: done, resolve: end } = Promise.withResolvers<void>();
    this.#last = done;
    try {
      await before;
      signal.throwIfAborted();
      return await work();
    } finally {
      this.#count -= 1;
      await nextTurn();
      end();
    }
  }
}
