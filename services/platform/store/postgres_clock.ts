/**
 * The time of a PostgreSQL server, which is the same for all who share it, whatever the clocks of their machines say: this machine's
 * clock, and how far it is off, measured again and again, and as soon as it is seen to have jumped.
 */
import type { SteadyClock } from "../clock.js";

const MEASURE_INTERVAL_MS = 10_000;
/** The machine's clock against the one that does not jump: that it was set, or that the machine stood still. */
const JUMP_MS = 250;

export class PostgresClock implements SteadyClock {
  readonly #ask: () => Promise<number>;
  /** The server's time less that of this machine. */
  #offsetMs = 0;
  /** This machine's time less that of the clock that does not jump, when it was measured. */
  #differenceMs = 0;
  #isMeasuring = false;
  readonly #timer: NodeJS.Timeout;

  /** @param ask for the server's time: UTC milliseconds */
  constructor(ask: () => Promise<number>) {
    this.#ask = ask;
    this.#timer = setInterval(() => this.#measureAgain(), MEASURE_INTERVAL_MS).unref();
  }

  now(): number {
    const now = Date.now();
    const steady = performance.now() + this.#differenceMs;
    if (Math.abs(now - steady) <= JUMP_MS) return now + Math.round(this.#offsetMs);
    // What of the two is right is known when it is measured; until then nobody is to be told of a time that is far off.
    this.#measureAgain();
    return Math.round(steady + this.#offsetMs);
  }

  monotonic(): number {
    return performance.now();
  }

  /** To be done once before it is used. */
  async measure(): Promise<void> {
    const differenceMs = Date.now() - performance.now();
    const askedAt = performance.now();
    const serverTime = await this.#ask();
    const answeredAt = performance.now();
    // The server's clock was read at some moment in between.
    const earliest = serverTime - answeredAt - differenceMs;
    const latest = serverTime - askedAt - differenceMs;
    this.#differenceMs = differenceMs;
    if (this.#offsetMs < earliest || this.#offsetMs > latest) this.#offsetMs = (earliest + latest) / 2;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** A server that does not answer is asked again later. */
  #measureAgain(): void {
    if (this.#isMeasuring) return;
    this.#isMeasuring = true;
    void this.measure()
      .catch(() => {})
      .finally(() => {
        this.#isMeasuring = false;
      });
  }
}
