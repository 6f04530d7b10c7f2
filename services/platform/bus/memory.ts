/** The bus within one process. Listeners are called in a later microtask, so that a publisher is never re-entered. */
import { type Bus, type EventBody, type EventKind, kindOf } from "./bus.js";

export class MemoryBus implements Bus {
  readonly #listeners = new Map<EventKind, Set<(event: EventBody) => void>>();

  publish(event: EventBody): void {
    const listeners = this.#listeners.get(kindOf(event));
    if (listeners === undefined || listeners.size === 0) return;
    queueMicrotask(() => {
      for (const listener of listeners) listener(event);
    });
  }

  subscribe(kind: EventKind, listener: (event: EventBody) => void): () => void {
    let listeners = this.#listeners.get(kind);
    if (listeners === undefined) {
      listeners = new Set();
      this.#listeners.set(kind, listeners);
    }
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#listeners.clear();
  }
}
