/** Invocations that a transaction has loaded and is changing: events go in, changes to save come out. */
import type { WriteTransaction } from "../platform/store/db.js";
import type { InvocationDeps } from "./deps.js";
import type { EndedExecution, Life, LifePolicy } from "./domain/life.js";
import { advance, type LifeEvent, type Rejection } from "./domain/transitions.js";
import type { Change, Identity, StoredInvocation } from "./store.js";

interface Entry {
  readonly identity: Identity;
  readonly before: Life;
  after: Life;
  ended: readonly EndedExecution[];
  released: readonly number[];
}

/** Most entries change once, and share these until then. */
const NOTHING: readonly never[] = [];

export class WorkingSet {
  readonly #entries = new Map<string, Entry>();

  constructor(loaded: readonly StoredInvocation[]) {
    for (const { identity, life } of loaded) {
      this.#entries.set(identity.id, { identity, before: life, after: life, ended: NOTHING, released: NOTHING });
    }
  }

  get(id: string): StoredInvocation | undefined {
    const entry = this.#entries.get(id);
    return entry === undefined ? undefined : { identity: entry.identity, life: entry.after };
  }

  /** The execution of an invocation that ended in this transaction. */
  ended(id: string, executionId: string): EndedExecution | undefined {
    return this.#entries.get(id)?.ended.find((execution) => execution.id === executionId);
  }

  /** Answers why nothing changed, or undefined where something did. */
  apply(id: string, event: LifeEvent, now: number, policy: LifePolicy): Rejection | undefined {
    const entry = this.#entry(id);
    const advanced = advance(entry.after, event, now, policy);
    if (typeof advanced === "string") return advanced;
    entry.after = advanced.life;
    if (advanced.ended !== undefined) entry.ended = [...entry.ended, advanced.ended];
    return undefined;
  }

  /** Records that an ended execution holds no worker any more. */
  release(id: string, attemptNumber: number, now: number, policy: LifePolicy): void {
    const entry = this.#entry(id);
    if (entry.released.includes(attemptNumber)) return;
    if (this.apply(id, { type: "release" }, now, policy) === undefined) {
      entry.released = [...entry.released, attemptNumber];
    }
  }

  /** Records that the worker of an attempt is gone, which its execution did not outlive. */
  lose(id: string, attemptNumber: number, reason: string, now: number, policy: LifePolicy): void {
    const error = `WorkerLostError: ${reason}`;
    this.apply(id, { type: "throw", error, interrupted: false, killed: true }, now, policy);
    this.release(id, attemptNumber, now, policy);
  }

  /** Those that changed. */
  changes(): Change[] {
    return [...this.#entries.values()].filter(({ before, after }) => before !== after);
  }

  #entry(id: string): Entry {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new Error(`${id} was not loaded`);
    return entry;
  }
}

/** The same event for many invocations, stored; answers what changed. */
export async function applyToAll(
  { clock, functions, store }: InvocationDeps,
  tx: WriteTransaction,
  invocations: readonly StoredInvocation[],
  event: LifeEvent,
): Promise<Change[]> {
  const working = new WorkingSet(invocations);
  const now = clock.now();
  for (const { identity } of invocations) {
    const { policy } = await functions.load(tx, identity.versionId, identity.functionName);
    working.apply(identity.id, event, now, policy);
  }
  const changes = working.changes();
  await store.save(tx, changes);
  return changes;
}
