import { type ToSupervisor, YIELDS_IN_FLIGHT } from "./messages.js";
import type { Outbox } from "./outbox.js";

/** Taken here, because user code may replace the global with a fake one. */
const nextTurn = setImmediate;

/** How long generators that never wait for anything may keep the event loop to themselves. */
const LONGEST_RUN_MS = 5;

/**
 * Keeps generators from yielding faster than the supervisor takes, and from keeping the event loop to themselves: without
 * a turn of the loop neither an interruption nor anything else would reach this thread.
 */
export class YieldFlow {
  readonly #outbox: Outbox;
  readonly #receive: () => void;
  #inFlight = 0;
  #lastTurnMs = 0;
  #waiting: (() => void)[] = [];

  /** @param receive handles, at once, the messages that have come from the supervisor */
  constructor(outbox: Outbox, receive: () => void) {
    this.#outbox = outbox;
    this.#receive = receive;
  }

  /** Sends at once: the code after the `yield` may keep the thread for long. */
  send(message: Extract<ToSupervisor, { kind: "yielded" }>): void {
    this.#inFlight += 1;
    this.#outbox.pushNow(message);
  }

  taken(count: number): void {
    this.#inFlight -= count;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const go of waiting) go();
  }

  /** Resolves when the generator may go on. */
  async next(): Promise<void> {
    while (this.#inFlight >= YIELDS_IN_FLIGHT) {
      await new Promise<void>((go) => {
        this.#waiting.push(go);
      });
    }
    if (performance.now() - this.#lastTurnMs < LONGEST_RUN_MS) return;
    await new Promise<void>((go) => nextTurn(go));
    this.#lastTurnMs = performance.now();
    this.#receive();
  }
}
