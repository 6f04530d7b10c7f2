/** Simulated annealing of a tour by 2-opt moves. */
import { randomNumbers } from "./random.ts";
import { at, type Distances, distance, tourLength } from "./tour.ts";

export interface Schedule {
  /** Moves that are tried. */
  readonly iterations: number;
  /** Temperature of the first move, in units of length; it falls geometrically from move to move. */
  readonly fromTemperature: number;
  /** Temperature of the last move, above 0. */
  readonly toTemperature: number;
}

export interface MeasuredTour {
  readonly tour: readonly number[];
  readonly length: number;
}

/** The shortest tour met on the way from `start`. The same arguments give the same tour. */
export function annealTour(
  distances: Distances,
  start: readonly number[],
  seed: number,
  { iterations, fromTemperature, toTemperature }: Schedule,
): MeasuredTour {
  const random = randomNumbers(seed);
  const cooling = (toTemperature / fromTemperature) ** (1 / iterations);
  const tour = Uint16Array.from(start);
  let length = tourLength(distances, start);
  let best: MeasuredTour = { tour: start, length };
  let temperature = fromTemperature;
  for (let iteration = 0; iteration < iterations; iteration += 1) {
    const one = Math.floor(random() * tour.length);
    const other = Math.floor(random() * tour.length);
    const first = Math.min(one, other);
    const last = Math.max(one, other);
    const change = changeByReversing(distances, tour, first, last);
    if (change <= 0 || random() < Math.exp(-change / temperature)) {
      tour.subarray(first, last + 1).reverse();
      length += change;
      if (length < best.length) best = { tour: Array.from(tour), length };
    }
    temperature *= cooling;
  }
  return best;
}

/** How much longer the tour becomes by walking the cities from place `first` to place `last` backwards. */
function changeByReversing(distances: Distances, tour: Uint16Array, first: number, last: number): number {
  const count = tour.length;
  const before = at(tour, (first + count - 1) % count);
  const after = at(tour, (last + 1) % count);
  const from = at(tour, first);
  const to = at(tour, last);
  // The whole tour backwards is as long as forwards.
  if (before === to) return 0;
  return (
    distance(distances, before, to) +
    distance(distances, from, after) -
    distance(distances, before, from) -
    distance(distances, to, after)
  );
}
