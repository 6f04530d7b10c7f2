/**
 * The order of what an engine is asked to do. It works on a few containers at once faster than on many, and a function waits
 * for a start, for a removal nobody does: so a bounded number of starts run at once, and the rest keeps out of their way,
 * for a while.
 */
import { availableParallelism } from "node:os";
import { setTimeout as delay } from "node:timers/promises";

const STARTS_AT_ONCE = Math.max(4, 4 * availableParallelism());
/** How long what is not urgent waits for starts to be over. */
const PATIENCE_MS = 1_000;

export class EngineTurns {
  readonly #startsAtOnce: number;
  readonly #patienceMs: number;
  #starts = 0;
  /** Starts that wait for their turn, oldest first. */
  readonly #queue: (() => void)[] = [];
  /** What waits until no start is under way. */
  #quiet = Promise.withResolvers<void>();

  constructor(startsAtOnce = STARTS_AT_ONCE, patienceMs = PATIENCE_MS) {
    this.#startsAtOnce = startsAtOnce;
    this.#patienceMs = patienceMs;
  }

  /** Does the work of a start when it is its turn. */
  async start<T>(work: () => Promise<T>): Promise<T> {
    this.#starts += 1;
    if (this.#starts > this.#startsAtOnce) await new Promise<void>((resolve) => this.#queue.push(resolve));
    try {
      return await work();
    } finally {
      this.#starts -= 1;
      this.#queue.shift()?.();
      if (this.#starts === 0) {
        this.#quiet.resolve();
        this.#quiet = Promise.withResolvers();
      }
    }
  }

  /** Resolves when no start is under way, and in any case soon. */
  async quiet(): Promise<void> {
    if (this.#starts === 0) return;
    const bound = new AbortController();
    const patience = delay(this.#patienceMs, undefined, { signal: bound.signal, ref: false }).catch(() => {});
    await Promise.race([this.#quiet.promise, patience]);
    bound.abort();
  }
}
