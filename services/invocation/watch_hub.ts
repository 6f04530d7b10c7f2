/**
 * Who watches what. A watch is level-triggered: the hub remembers for each watcher which of its invocations may have
 * changed, never what has changed, so that a slow watcher costs one mark an invocation and nothing more.
 *
 * W1. A mark is set before the state is read, so that a change between the two is seen in the next round.
 * W2. What a commit of this process changed is offered with its state, and read from the store otherwise.
 * W3. Marks come from hints, which may be lost; so each watcher also looks at all of its invocations now and then, and when hints
 *     were missed.
 */
import type { InvocationRevision } from "../../gen/multinode/event/v1/event.pb.js";
import type { Bus, EventBody } from "../platform/bus/bus.js";
import { isFinished, type Life } from "./domain/life.js";
import type { Change, StoredInvocation } from "./store.js";

/** How far an invocation has come, as far as is known. */
export type Progress = Pick<InvocationRevision, "revision" | "finished" | "terminated">;

export interface Watcher {
  /** An invocation of the watcher may have changed. `state` where it is at hand. */
  mark(invocationId: string, progress: Progress, state?: StoredInvocation): void;
  /** Any of them may have changed. */
  markAll(): void;
}

export class WatchHub {
  /** Nearly always there is one watcher of an invocation, and of those there are many. */
  readonly #watchers = new Map<string, Watcher | Set<Watcher>>();
  readonly #unsubscribe: () => void;

  constructor(bus: Bus) {
    const hear = (event: EventBody) => {
      if (event.$case !== "invocations" || this.#watchers.size === 0) return;
      for (const revision of event.value.invocations) this.#mark(revision.invocationId, revision);
    };
    this.#unsubscribe = bus.subscribe("invocation", hear, () => this.#markAll());
  }

  add(invocationId: string, watcher: Watcher): void {
    const known = this.#watchers.get(invocationId);
    if (known === undefined || known === watcher) this.#watchers.set(invocationId, watcher);
    else if (known instanceof Set) known.add(watcher);
    else this.#watchers.set(invocationId, new Set([known, watcher]));
  }

  remove(invocationId: string, watcher: Watcher): void {
    const known = this.#watchers.get(invocationId);
    if (known instanceof Set) known.delete(watcher);
    if (known === watcher || (known instanceof Set && known.size === 0)) this.#watchers.delete(invocationId);
  }

  offer(changes: readonly Change[]): void {
    if (this.#watchers.size === 0) return;
    for (const change of changes) {
      const { identity, after } = change;
      const running = passedRun(change);
      if (running !== undefined) this.#mark(identity.id, progressOf(running), { identity, life: running });
      this.#mark(identity.id, progressOf(after), { identity, life: after });
    }
  }

  close(): void {
    this.#unsubscribe();
  }

  #markAll(): void {
    const all = new Set<Watcher>();
    for (const known of this.#watchers.values()) {
      if (known instanceof Set) for (const watcher of known) all.add(watcher);
      else all.add(known);
    }
    for (const watcher of all) watcher.markAll();
  }

  #mark(invocationId: string, progress: Progress, state?: StoredInvocation): void {
    const known = this.#watchers.get(invocationId);
    if (known === undefined) return;
    if (!(known instanceof Set)) known.mark(invocationId, progress, state);
    else for (const watcher of known) watcher.mark(invocationId, progress, state);
  }
}

/** What an attempt was in between that began and ended with one change; undefined where none did. */
function passedRun({ before, after, ended }: Change): Life | undefined {
  if (before.status !== "PENDING" || after.revision <= before.revision + 1) return undefined;
  const begun = ended.find(({ startedAt }) => startedAt !== null);
  if (begun === undefined || before.current?.startedAt !== null) return undefined;
  const startedAt = before.startedAt ?? begun.startedAt;
  return { ...before, status: "RUNNING", startedAt, revision: after.revision - 1 };
}

export function progressOf(life: Life): Progress {
  return { revision: life.revision, finished: isFinished(life), terminated: life.terminated };
}
