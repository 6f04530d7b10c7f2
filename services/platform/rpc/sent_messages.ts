/**
 * The messages of one answer that have left this process. The library keeps up to 16 of a stream that nobody reads, whatever
 * their size: whoever waits here before making the next one keeps one, and gives others their turn.
 */
export class SentMessages {
  #count = 0;
  #isOver = false;
  #awaited = 0;
  #wake: (() => void) | undefined;

  sent(): void {
    this.#count += 1;
    if (this.#count >= this.#awaited) this.#wake?.();
  }

  /** Nobody waits any more: the call is over, or is to end. */
  end(): void {
    this.#isOver = true;
    this.#wake?.();
  }

  /** Resolves when so many have been sent. */
  async until(count: number): Promise<void> {
    if (this.#count >= count || this.#isOver) return;
    this.#awaited = count;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }
}
