/** When spares that were used are replaced: a moment later, so that the start of a worker does not slow down the call that used one. */

/** Above what a call needs from its spare to its first line; below what a worker needs to boot. */
const REFILL_AFTER_MS = 100;

export class SpareRefill {
  readonly #wake: () => void;
  #timer: NodeJS.Timeout | undefined;
  #isDue = false;

  /** @param wake plan again */
  constructor(wake: () => void) {
    this.#wake = wake;
  }

  /** How many of the missing spares are to be started now: none, until some have been missing for the moment. */
  take(missing: number): number {
    if (missing === 0) {
      this.stop();
      return 0;
    }
    if (this.#isDue) {
      this.#isDue = false;
      return missing;
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#isDue = true;
      this.#wake();
    }, REFILL_AFTER_MS);
    return 0;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isDue = false;
  }
}
