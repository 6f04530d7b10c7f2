/** The bus within one process. Listeners are called in a later microtask, so that a publisher is never re-entered. */
import { type Bus, type EventBody, type EventKind, kindOf } from "./bus.js";

interface Subscription {
  readonly listener: (event: EventBody) => void;
  readonly missed: (() => void) | undefined;
}

export class MemoryBus implements Bus {
  readonly #subscriptions = new Map<EventKind, Set<Subscription>>();

  publish(event: EventBody): void {
    const subscriptions = this.#subscriptions.get(kindOf(event));
    if (subscriptions === undefined || subscriptions.size === 0) return;
    queueMicrotask(() => {
      for (const { listener } of subscriptions) listener(event);
    });
  }

  subscribe(kind: EventKind, listener: (event: EventBody) => void, missed?: () => void): () => void {
    let subscriptions = this.#subscriptions.get(kind);
    if (subscriptions === undefined) {
      subscriptions = new Set();
      this.#subscriptions.set(kind, subscriptions);
    }
    const subscription = { listener, missed };
    subscriptions.add(subscription);
    return () => subscriptions.delete(subscription);
  }

  /** Tells everyone that events may have been lost. For a bus that passes on through this one what it hears elsewhere. */
  tellMissed(): void {
    const all = [...this.#subscriptions.values()].flatMap((subscriptions) => [...subscriptions]);
    for (const { missed } of all) missed?.();
  }

  async close(): Promise<void> {
    for (const subscriptions of this.#subscriptions.values()) subscriptions.clear();
    this.#subscriptions.clear();
  }
}
