/**
 * Schedulers that wait for something to lease. They are woken when a change that may bring them something is on its way
 * to the store, before its commit, so that their lease joins the same commit: a call then waits for the disk once for its
 * start and its lease together.
 *
 * K1. What is announced after `round` was read and before `wait` is called is not missed.
 */
import type { Bus } from "../../platform/bus/bus.js";

/** "coming": a change is on its way to the store. "look": something may have changed. "over": the time is over. */
export type WakeReason = "coming" | "look" | "over";

export class ParkedLeases {
  readonly #waiting = new Set<(reason: WakeReason) => void>();
  readonly #unsubscribe: () => void;
  #round = 0;
  #comingRound = 0;

  constructor(bus: Bus) {
    this.#unsubscribe = bus.subscribe("queue", () => this.#wake("look"));
  }

  get round(): number {
    return this.#round;
  }

  /** To be called in the same turn in which the change was handed to the store. */
  coming(): void {
    this.#comingRound = this.#round + 1;
    this.#wake("coming");
  }

  async wait(round: number, atMostMs: number, signal: AbortSignal): Promise<WakeReason> {
    if (round !== this.#round) return this.#comingRound > round ? "coming" : "look";
    return await new Promise((resolve) => {
      const end = (reason: WakeReason) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
        this.#waiting.delete(end);
        resolve(reason);
      };
      const abort = () => end("over");
      const timer = setTimeout(end, atMostMs, "over");
      signal.addEventListener("abort", abort);
      this.#waiting.add(end);
    });
  }

  close(): void {
    this.#unsubscribe();
    this.#wake("over");
  }

  #wake(reason: WakeReason): void {
    this.#round += 1;
    for (const end of [...this.#waiting]) end(reason);
  }
}
