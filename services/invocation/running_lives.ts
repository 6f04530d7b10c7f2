/**
 * The lives of what runs, as this process stored them last, so that a report need not read what it is about to change. It
 * may be behind the store where another process changed a row: `save` then refuses (StaleLife), and the row is read. Hints of
 * such changes make that rare.
 */
import type { Bus } from "../platform/bus/bus.js";
import type { Change, StoredInvocation } from "./store.js";

/** Lives that are kept; what runs beyond them is read. */
const MOST_LIVES = 20_000;

export class RunningLives {
  readonly #lives = new Map<string, StoredInvocation>();
  readonly #unsubscribe: () => void;

  constructor(bus: Bus) {
    this.#unsubscribe = bus.subscribe("invocation", (event) => {
      if (event.$case !== "invocations" || this.#lives.size === 0) return;
      for (const { invocationId, revision } of event.value.invocations) {
        const known = this.#lives.get(invocationId);
        if (known !== undefined && known.life.revision < revision) this.#lives.delete(invocationId);
      }
    });
  }

  get(id: string): StoredInvocation | undefined {
    return this.#lives.get(id);
  }

  leased(invocations: readonly StoredInvocation[]): void {
    for (const invocation of invocations) {
      if (this.#lives.size < MOST_LIVES) this.#lives.set(invocation.identity.id, invocation);
    }
  }

  /** To be told of every change after its commit. */
  changed(changes: readonly Change[]): void {
    for (const { identity, after } of changes) {
      if (after.held === 0) this.#lives.delete(identity.id);
      else if (this.#lives.has(identity.id)) this.#lives.set(identity.id, { identity, life: after });
    }
  }

  forget(ids: Iterable<string>): void {
    for (const id of ids) this.#lives.delete(id);
  }

  close(): void {
    this.#unsubscribe();
  }
}
