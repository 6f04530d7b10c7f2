/**
 * What happens because time passes: invocations that did not begin in time, executions that run too long, schedulers
 * that fell silent, requests that are old. It takes no input and does what is due, so that being called too often, or
 * after a crash, or on several replicas at once, is no harm.
 */
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import type { ReadTransaction } from "../platform/store/db.js";
import { continueCascades } from "./cancelling.js";
import type { InvocationDeps } from "./deps.js";
import type { LifeEvent } from "./domain/transitions.js";
import type { StoredInvocation } from "./store.js";
import { applyToAll, WorkingSet } from "./working_set.js";

const INTERVAL_MS = 1_000;
/** Invocations that one transaction of a sweep changes. */
const CHUNK = 500;
/** Requests that one sweep forgets. */
const FORGET_CHUNK = 5_000;
const FORGET_INTERVAL_MS = 60 * 60 * 1_000;

/** No look at the leases for so long: the database was away. */
const OUTAGE_MS = 5_000;
/** How long schedulers then have to renew their leases, and to tell what has ended meanwhile. */
const AFTER_OUTAGE_MS = 2 * LIMITS.leaseRenewIntervalMs;

/** A clock that was set, or a machine that was suspended, and not one that is a little late. */
const JUMP_MS = 2_000;

export class Sweeper {
  readonly #deps: InvocationDeps;
  readonly #intervalMs: number;
  #timer: NodeJS.Timeout | undefined;
  #wakeAt = Number.POSITIVE_INFINITY;
  #running: Promise<void> | undefined;
  #stopped = false;
  #forgotAt = 0;
  /** Of the clock, how far it is before the time that does not jump. */
  #offsetMs: number;
  /** By that time. Until then no lease is taken to be over. */
  #leasesHoldUntil = Number.NEGATIVE_INFINITY;
  /** When leases were looked at last, by the time of the process. */
  #lookedAt = performance.now();

  /** @param intervalMs longest time between two sweeps */
  constructor(deps: InvocationDeps, intervalMs: number = INTERVAL_MS) {
    this.#deps = deps;
    this.#intervalMs = intervalMs;
    this.#offsetMs = deps.clock.now() - deps.clock.monotonic();
    deps.announcer.onDeadline((at) => this.#wakeBy(at));
  }

  start(): void {
    this.#lookedAt = performance.now();
    this.#wakeBy(this.#deps.clock.now());
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  /** One sweep. */
  async sweep(): Promise<void> {
    const { store } = this.#deps;
    await this.#sweepAll((tx, now) => store.loadExpired(tx, now, CHUNK), { type: "expire" });
    await this.#sweepAll((tx, now) => store.loadPastDeadline(tx, now, CHUNK), { type: "timeout" });
    await this.#sweepSchedulers();
    while (await continueCascades(this.#deps));
    await this.#forgetRequests();
  }

  #wakeBy(at: number): void {
    if (this.#stopped || at >= this.#wakeAt) return;
    this.#wakeAt = at;
    clearTimeout(this.#timer);
    const delay = Math.min(Math.max(at - this.#deps.clock.now(), 0), this.#intervalMs);
    this.#timer = setTimeout(() => {
      // Also where a sweep is under way: it looks at the deadlines at its end, and must be free to set the next time.
      this.#wakeAt = Number.POSITIVE_INFINITY;
      this.#running ??= this.#run().finally(() => {
        this.#running = undefined;
      });
    }, delay);
  }

  async #run(): Promise<void> {
    this.#wakeAt = Number.POSITIVE_INFINITY;
    const { clock, db, store, log } = this.#deps;
    let next: number | null = null;
    try {
      await this.sweep();
      next = await db.read((tx) => store.nextDeadline(tx));
    } catch (err) {
      log.warn({ err }, "a sweep failed and will be repeated");
    }
    const now = clock.now();
    // What is due and was left belongs to a scheduler whose lease is over.
    this.#wakeBy(next === null || next <= now ? now + this.#intervalMs : Math.min(next, now + this.#intervalMs));
  }

  async #sweepAll(
    load: (tx: ReadTransaction, now: number) => Promise<StoredInvocation[]>,
    event: LifeEvent,
  ): Promise<void> {
    const { db, clock, announcer } = this.#deps;
    for (;;) {
      // Most sweeps find nothing: they read, and do not wait for a commit.
      const found = await db.read((tx) => load(tx, clock.now()));
      if (found.length === 0) return;
      const changes = await db.write(async (tx) => applyToAll(this.#deps, tx, await load(tx, clock.now()), event));
      announcer.changed(changes);
      if (changes.length < CHUNK) return;
    }
  }

  async #sweepSchedulers(): Promise<void> {
    const { db, store, clock, announcer, log } = this.#deps;
    if (this.#doLeasesHold()) return;
    const expired = await db.read((tx) => store.expiredSchedulers(tx, clock.now()));
    for (const schedulerId of expired) {
      const changes = await db.write(async (tx) => {
        const now = clock.now();
        if (!(await store.expiredSchedulers(tx, now)).includes(schedulerId)) return [];
        const leased = await store.loadLeased(tx, schedulerId);
        const working = new WorkingSet(leased);
        for (const { identity, life } of leased) {
          const { policy } = await this.#deps.functions.load(tx, identity.versionId, identity.functionName);
          working.lose(identity.id, life.attempts, "the scheduler of the execution was lost", now, policy);
        }
        await store.save(tx, working.changes());
        const held = await store.loadHeldEnded(tx, schedulerId);
        const others = new WorkingSet(
          await store.load(
            tx,
            held.map(({ invocationId }) => invocationId),
          ),
        );
        // Read again, now that the invocations are locked: what was released meanwhile is not released twice.
        for (const { invocationId, attemptNumber } of await store.loadHeldEnded(tx, schedulerId)) {
          const stored = others.get(invocationId);
          if (stored === undefined) continue;
          const { versionId, functionName } = stored.identity;
          const { policy } = await this.#deps.functions.load(tx, versionId, functionName);
          others.release(invocationId, attemptNumber, now, policy);
        }
        await store.save(tx, others.changes());
        await store.forgetScheduler(tx, schedulerId);
        return [...working.changes(), ...others.changes()];
      });
      if (changes.length > 0) log.warn({ schedulerId, executions: changes.length }, "a scheduler was lost");
      announcer.changed(changes);
    }
  }

  /**
   * After a jump of the clock all leases may look over, and after an outage of the database they are: whoever lives renews them, and
   * is given the time for that.
   */
  #doLeasesHold(): boolean {
    const { clock } = this.#deps;
    const now = clock.monotonic();
    const offsetMs = clock.now() - now;
    if (Math.abs(offsetMs - this.#offsetMs) > JUMP_MS) this.#leasesHoldUntil = now + LIMITS.leaseDurationMs;
    this.#offsetMs = offsetMs;
    const lookedAt = performance.now();
    if (lookedAt - this.#lookedAt > OUTAGE_MS)
      this.#leasesHoldUntil = Math.max(this.#leasesHoldUntil, now + AFTER_OUTAGE_MS);
    this.#lookedAt = lookedAt;
    return now < this.#leasesHoldUntil;
  }

  async #forgetRequests(): Promise<void> {
    const { db, store, clock } = this.#deps;
    const now = clock.now();
    if (now - this.#forgotAt < FORGET_INTERVAL_MS) return;
    this.#forgotAt = now;
    const createdBefore = now - LIMITS.idempotencyWindowMs;
    const areMore = await db.write((tx) => store.forgetRequests(tx, createdBefore, FORGET_CHUNK));
    // The others in the next sweep, after what is due then.
    if (areMore) this.#forgotAt = 0;
  }
}
