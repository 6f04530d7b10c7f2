/** What each round of a distributed annealing runs: several runs from the best tours so far, colder from round to round. */
import type { MeasuredTour, Schedule } from "./annealing.ts";
import { randomTour } from "./tour.ts";

export interface Search {
  readonly cityCount: number;
  /** Whole number of 32 bits. */
  readonly seed: number;
  /** At least 1. */
  readonly rounds: number;
  /** Runs in each round, at least 1. */
  readonly runs: number;
  /** Moves that each run tries. */
  readonly iterations: number;
}

/** Arguments of one run: the tour to start from, the seed, and the schedule. */
export type Run = [start: readonly number[], seed: number, schedule: Schedule];

/** Tours that go into the next round. More of them keep more variety, and make good ones slower. */
const KEPT_TOURS = 2;
/** In units of length; berlin52's tours have edges of 145 on average when they are good, and of 570 when they are random. */
const HOTTEST = 400;
const COLDEST = 4;

/** The runs of a round, counted from 0. `best` holds what the round before gave, best first; it is empty for the first. */
export function runsOfRound(search: Search, round: number, best: readonly MeasuredTour[]): Run[] {
  const { cityCount, rounds, runs, iterations } = search;
  const schedule = {
    iterations,
    fromTemperature: temperature(round / rounds),
    toTemperature: temperature((round + 1) / rounds),
  };
  return Array.from({ length: runs }, (_, index) => {
    const seed = (search.seed + round * runs + index) >>> 0;
    const start = best[index % best.length]?.tour ?? randomTour(cityCount, seed);
    return [start, seed, schedule];
  });
}

/** The shortest tours of a round, best first. */
export function bestTours(results: readonly MeasuredTour[]): MeasuredTour[] {
  return results.toSorted((one, other) => one.length - other.length).slice(0, KEPT_TOURS);
}

/** Falls geometrically while `progress` goes from 0 to 1. */
function temperature(progress: number): number {
  return HOTTEST * (COLDEST / HOTTEST) ** progress;
}
