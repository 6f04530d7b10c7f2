/** When workers are provisioned again after provisioning failed: after a while that doubles with each failure, up to a bound. */

const FIRST_MS = 200;
const CEILING_MS = 10_000;

export class StartBackoff {
  readonly #over: () => void;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param over is called when a wait is over */
  constructor(over: () => void) {
    this.#over = over;
  }

  get isWaiting(): boolean {
    return this.#timer !== undefined;
  }

  /** Workers that were started together fail together, once. */
  failed(): void {
    if (this.#timer !== undefined) return;
    const waitMs = Math.min(FIRST_MS * 2 ** this.#failures, CEILING_MS);
    this.#failures += 1;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#over();
    }, waitMs);
    this.#timer.unref();
  }

  succeeded(): void {
    this.#failures = 0;
  }
}
