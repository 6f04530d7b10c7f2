/** Workers that are bound to no function yet, by their sizes, and how many of which size are needed: pure, a part of plan.ts. */
import { ANY_SIZE } from "./worker_size.js";

/** Numbers of workers, by size; where workers are of one kind all sizes are the same one. */
export class SizeCounts {
  total = 0;
  readonly #spareSize: string;
  readonly #counts = new Map<string, number>();

  constructor(spareSize: string) {
    this.#spareSize = spareSize;
  }

  add(size: string): void {
    const key = this.#spareSize === ANY_SIZE ? ANY_SIZE : size;
    this.total += 1;
    this.#counts.set(key, this.of(key) + 1);
  }

  of(size: string): number {
    return this.#counts.get(size) ?? 0;
  }

  /** How many of these serve what is needed. */
  servingAny(needed: SizeCounts): number {
    return this.sizes().reduce((sum, size) => sum + Math.min(this.of(size), needed.of(size)), 0);
  }

  /** In the order in which they came first. */
  sizes(): string[] {
    return [...this.#counts.keys()];
  }
}

export class Spares {
  /** Those that boot. */
  readonly onTheirWay: SizeCounts;
  /** How many of them were taken for a function. */
  bound = 0;
  readonly #spareSize: string;
  #free: { readonly id: string; readonly size: string }[] = [];

  constructor(spareSize: string) {
    this.onTheirWay = new SizeCounts(spareSize);
    this.#spareSize = spareSize;
  }

  add({ id, size }: { readonly id: string; readonly size: string }): void {
    this.#free.push({ id, size });
  }

  /** Takes one that serves functions of this size. */
  bind(size: string): string | undefined {
    const spare = this.#free.find((other) => this.#spareSize === ANY_SIZE || other.size === size);
    if (spare === undefined) return undefined;
    this.#take(spare);
    this.bound += 1;
    return spare.id;
  }

  /** Takes one that gives way. Where workers are of one kind there is none while anything waits. */
  takeAny(): string | undefined {
    const [spare] = this.#free;
    if (spare !== undefined) this.#take(spare);
    return spare?.id;
  }

  /** Takes all that were started for functions that need them no more. */
  takeUnusual(): string[] {
    if (this.#spareSize === ANY_SIZE) return [];
    const unusual = this.#free.filter(({ size }) => size !== this.#spareSize);
    for (const spare of unusual) this.#take(spare);
    return unusual.map(({ id }) => id);
  }

  /** The sizes of workers to start, those first that were needed first, beside those that boot and `count` spares. */
  toStart(needed: SizeCounts, count: number): string[] {
    const start: string[] = [];
    for (const size of needed.sizes()) {
      for (let missing = needed.of(size) - this.onTheirWay.of(size); missing > 0; missing -= 1) start.push(size);
    }
    const booting = Math.max(0, this.onTheirWay.of(this.#spareSize) - needed.of(this.#spareSize));
    for (let missing = count - this.#free.length - booting; missing > 0; missing -= 1) start.push(this.#spareSize);
    return start;
  }

  #take(spare: { readonly id: string }): void {
    this.#free = this.#free.filter((other) => other !== spare);
  }
}
