/** After a commit: tells watchers, schedulers and the sweeper what changed. All of it is hints. */
import type { Bus } from "../platform/bus/bus.js";
import { isQueued } from "./domain/life.js";
import type { RunningLives } from "./running_lives.js";
import type { Change, StoredInvocation } from "./store.js";
import { progressOf, type WatchHub } from "./watch_hub.js";

/** Is told of everything that is stored of invocations through this process, after its commit. */
export interface LifeObserver {
  started(invocations: readonly StoredInvocation[]): void;
  changed(changes: readonly Change[]): void;
}

export class Announcer {
  readonly #bus: Bus;
  readonly #hub: WatchHub;
  readonly #running: RunningLives;
  #observer: LifeObserver | undefined;
  readonly #deadlineListeners = new Set<(at: number) => void>();

  constructor(bus: Bus, hub: WatchHub, running: RunningLives) {
    this.#bus = bus;
    this.#hub = hub;
    this.#running = running;
  }

  /** There is one at most. */
  observe(observer: LifeObserver): void {
    this.#observer = observer;
  }

  /** Calls `listener` with each deadline that is set. */
  onDeadline(listener: (at: number) => void): void {
    this.#deadlineListeners.add(listener);
  }

  /** These are stored now that were not before. */
  started(invocations: readonly StoredInvocation[]): void {
    this.#observer?.started(invocations);
    if (invocations.some(({ life }) => isQueued(life))) this.queued();
  }

  /** @param areSlotsWanted whether anything waits for the slots that are free now; true where that is not known */
  changed(changes: readonly Change[], areSlotsWanted = true): void {
    if (changes.length === 0) return;
    this.#observer?.changed(changes);
    this.#running.changed(changes);
    this.#hub.offer(changes);
    const invocations = [];
    const schedulerIds = new Set<string>();
    let isLeasable = false;
    let deadline = Number.POSITIVE_INFINITY;
    for (const { identity, before, after } of changes) {
      invocations.push({ invocationId: identity.id, ...progressOf(after) });
      if (isQueued(after) && !isQueued(before)) isLeasable = true;
      if (after.held < before.held && areSlotsWanted) isLeasable = true;
      const { current } = after;
      if (current === null) continue;
      if (current.interrupt !== null && before.current?.interrupt === null) schedulerIds.add(current.schedulerId);
      if (current.deadlineAt !== null && before.current?.deadlineAt === null) {
        deadline = Math.min(deadline, current.deadlineAt);
      }
    }
    this.#bus.publish({ $case: "invocations", value: { invocations } });
    if (isLeasable) this.queued();
    if (schedulerIds.size > 0) {
      this.#bus.publish({ $case: "interruptions", value: { schedulerIds: [...schedulerIds] } });
    }
    if (deadline < Number.POSITIVE_INFINITY) this.deadline(deadline);
  }

  /** Invocations may be leased that could not be before. */
  queued(): void {
    this.#bus.publish({ $case: "queue", value: {} });
  }

  deadline(at: number): void {
    for (const listener of this.#deadlineListeners) listener(at);
  }
}
