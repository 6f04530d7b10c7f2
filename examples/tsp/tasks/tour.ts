/** Tours: every city once, as a list of indexes, from the last of which the way leads back to the first. */
import { randomNumbers } from "./random.ts";

export type City = readonly [x: number, y: number];

/** The distance of every pair of cities, each rounded to a whole number as TSPLIB's EUC_2D asks. */
export interface Distances {
  readonly cityCount: number;
  /** Row after row. */
  readonly table: Uint32Array;
}

export function distancesOf(cities: readonly City[]): Distances {
  const rows = cities.map(([x, y]) => cities.map(([otherX, otherY]) => Math.round(Math.hypot(x - otherX, y - otherY))));
  return { cityCount: cities.length, table: Uint32Array.from(rows.flat()) };
}

export function distance({ cityCount, table }: Distances, from: number, to: number): number {
  return at(table, from * cityCount + to);
}

export function tourLength(distances: Distances, tour: readonly number[]): number {
  return tour.reduce(
    (length, city, place) => length + distance(distances, city, at(tour, (place + 1) % tour.length)),
    0,
  );
}

export function isTour(cityCount: number, list: readonly number[]): boolean {
  return (
    list.length === cityCount &&
    new Set(list).size === cityCount &&
    list.every((city) => Number.isInteger(city) && city >= 0 && city < cityCount)
  );
}

/** A tour in random order; the same seed gives the same tour. */
export function randomTour(cityCount: number, seed: number): number[] {
  const random = randomNumbers(seed);
  const tour = Array.from({ length: cityCount }, (_, city) => city);
  for (let place = cityCount - 1; place > 0; place -= 1) {
    const other = Math.floor(random() * (place + 1));
    const city = at(tour, place);
    tour[place] = at(tour, other);
    tour[other] = city;
  }
  return tour;
}

/** The number at an index that is known to exist. */
export function at(list: ArrayLike<number>, index: number): number {
  const value = list[index];
  if (value === undefined) throw new RangeError(`index ${index} is outside of a list of ${list.length}`);
  return value;
}
