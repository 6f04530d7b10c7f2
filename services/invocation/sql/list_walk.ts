/**
 * Walks several ranges of an index at once, and gives the ids that they hold merged, newest first. Of each range little is read
 * at first and more with each time, since few of many functions have most of the newest invocations.
 */
import { type ReadTransaction, type SqlValue, together } from "../../platform/store/db.js";

/** Ids read at once of one range. */
const FEWEST = 10;
const MOST = 1_000;

/** Invocations that one index holds in the order of their ids. */
export interface IndexRange {
  readonly where: string;
  readonly param: SqlValue;
}

export interface IdBounds {
  /** Exclusive. */
  readonly before: string | null;
  /** Inclusive. */
  readonly lower: string | null;
}

/** A range, and what was read of it and not given yet. */
interface Branch {
  readonly range: IndexRange;
  before: string | null;
  ids: string[];
  atOnce: number;
  /** Whether nothing is left to read. */
  isOver: boolean;
}

export class ListWalk {
  readonly #tx: ReadTransaction;
  readonly #lower: string | null;
  readonly #branches: readonly Branch[];
  /** Rows that were read. */
  looked = 0;

  /** `expected`: how many ids are likely to be asked for. */
  constructor(tx: ReadTransaction, ranges: readonly IndexRange[], { before, lower }: IdBounds, expected: number) {
    this.#tx = tx;
    this.#lower = lower;
    const atOnce = Math.max(FEWEST, Math.ceil(expected / ranges.length));
    this.#branches = ranges.map((range) => ({ range, before, ids: [], atOnce, isOver: false }));
  }

  /** The next ids. None: that was all. */
  async next(): Promise<string[]> {
    const empty = this.#branches.filter(({ ids, isOver }) => ids.length === 0 && !isOver);
    await together(empty.map((branch) => this.#read(branch)));
    // What is not read yet is older than the last of its branch.
    let oldest = "";
    for (const { ids, isOver } of this.#branches) {
      const last = ids.at(-1) ?? "";
      if (!isOver && last > oldest) oldest = last;
    }
    const given: string[] = [];
    for (const { ids } of this.#branches) {
      const older = ids.findIndex((id) => id < oldest);
      given.push(...ids.splice(0, older === -1 ? ids.length : older));
    }
    return given.sort((a, b) => (a < b ? 1 : -1));
  }

  async #read(branch: Branch): Promise<void> {
    const { range, before, atOnce } = branch;
    const bounds = `${before === null ? "" : " AND id < ?"}${this.#lower === null ? "" : " AND id >= ?"}`;
    const rows = await this.#tx.tuples<[id: string]>(
      `SELECT id FROM invocations WHERE ${range.where}${bounds} ORDER BY id DESC LIMIT ?`,
      range.param,
      ...[before, this.#lower].filter((bound) => bound !== null),
      atOnce,
    );
    this.looked += rows.length;
    branch.ids = rows.map(([id]) => id);
    branch.isOver = rows.length < atOnce;
    branch.before = branch.ids.at(-1) ?? before;
    branch.atOnce = Math.min(2 * atOnce, MOST);
  }
}
