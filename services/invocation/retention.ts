/**
 * Removes invocations, with their executions and logs, that ended longer ago than they are to be kept. All that were started
 * before that time are walked by their ids, a part at a time; at the end of the walk it rests, and begins anew.
 *
 * A parent goes after its children, in a later walk: as long as one descendant is there, all that lead to it are.
 */
import type { InvocationDeps } from "./deps.js";

const DAY_MS = 24 * 60 * 60 * 1_000;
/** Between two walks. */
const INTERVAL_MS = 60_000;
/** Invocations that one part looks at, and rows of all tables that it removes: others must not wait for it for long. */
const LOOKED_AT_ONCE = 200;
const ROWS_AT_ONCE = 2_000;
/** After a part it rests for this many times as long as the part took: calls come first. */
const REST_RATIO = 3;

export class Retention {
  readonly #deps: InvocationDeps;
  readonly #keptMs: number;
  readonly #intervalMs: number;
  #afterId = "";
  #removed = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;

  /** @param keptDays how long an invocation is kept after its end */
  constructor(deps: InvocationDeps, keptDays: number, intervalMs: number = INTERVAL_MS) {
    this.#deps = deps;
    this.#keptMs = keptDays * DAY_MS;
    this.#intervalMs = intervalMs;
  }

  start(): void {
    this.#runIn(0);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #runIn(delayMs: number): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#run();
    }, delayMs);
  }

  async #run(): Promise<void> {
    const begun = performance.now();
    let isOver = true;
    try {
      isOver = await this.#removePart();
    } catch (err) {
      this.#deps.log.warn({ err }, "old invocations could not be removed; trying again");
    }
    this.#runIn(isOver ? this.#intervalMs : REST_RATIO * (performance.now() - begun));
  }

  /** Answers whether the walk is over. */
  async #removePart(): Promise<boolean> {
    const { db, store, clock, log } = this.#deps;
    const endedBefore = clock.now() - this.#keptMs;
    const { ids, position } = await db.read((tx) => store.loadOld(tx, endedBefore, this.#afterId, LOOKED_AT_ONCE));
    if (ids.length > 0) {
      const remove = () => db.write((tx) => store.removeInvocations(tx, ids, ROWS_AT_ONCE), { durability: "relaxed" });
      const gone = await remove();
      this.#removed += gone;
      if (gone < ids.length) return false; // the rest of the same part
    }
    this.#afterId = position ?? "";
    if (position !== null) return false;
    if (this.#removed > 0) log.info({ invocations: this.#removed }, "old invocations were removed");
    this.#removed = 0;
    return true;
  }
}
