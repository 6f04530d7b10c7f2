/** The functions of the project `tsp`: one run of simulated annealing, and the search that spreads runs over workers. */
import { Multinode } from "multinode";
import { z } from "zod";
import { annealTour, type MeasuredTour } from "./annealing.ts";
import { BERLIN52, BERLIN52_OPTIMUM } from "./berlin52.ts";
import { bestTours, runsOfRound } from "./rounds.ts";
import { distancesOf, isTour } from "./tour.ts";

const CITY_COUNT = BERLIN52.length;
const distances = distancesOf(BERLIN52);

const seed = z.int().min(0).max(0xffff_ffff);
const iterations = z.int().min(1).max(100_000_000);
const temperature = z.number().positive();

const annealInput = z.tuple([
  z
    .array(z.int())
    .refine((tour) => isTour(CITY_COUNT, tour), "must hold every city once")
    .readonly(),
  seed,
  z.object({ iterations, fromTemperature: temperature, toTemperature: temperature }),
]);

const solveInput = z
  .object({
    seed: seed.default(1),
    rounds: z.int().min(1).max(1_000).default(10),
    /** Runs of `anneal` in each round. */
    runs: z.int().min(1).max(1_000).default(8),
    iterations: iterations.default(400_000),
  })
  .prefault({});

/** The state of the search after a round. */
export interface Progress {
  /** Rounds that are done, from 1. */
  readonly round: number;
  readonly rounds: number;
  readonly bestLength: number;
  /** Indexes into BERLIN52. */
  readonly bestTour: readonly number[];
  /** Length of the shortest tour that exists. */
  readonly optimum: number;
}

export const mn = new Multinode();

/** One run: the shortest tour met on the way from `start`. The same arguments give the same tour. */
export const anneal = mn.function(
  {
    cpu: 1,
    timeout: "1m",
    maxRetries: 2,
    // A run never looks up from its loop, so an interrupted one that is long can only be killed.
    gracePeriod: "1s",
    // Runs are short and keep nothing behind, so a worker stays warm from run to run.
    maxConcurrency: 4,
    maxInvocationsPerWorker: Number.POSITIVE_INFINITY,
    workerConcurrency: 1,
    input: annealInput,
  },
  (start, seed, schedule): MeasuredTour => annealTour(distances, start, seed, schedule),
);

/** The search: yields its state after each round, and ends early at the optimum. The same input gives the same tours. */
export const solve = mn.function(
  { cpu: 0.1, timeout: "10m", input: solveInput },
  async function* (search): AsyncGenerator<Progress, void, undefined> {
    let best: MeasuredTour[] = [];
    for (let round = 0; round < search.rounds; round += 1) {
      const runs = runsOfRound({ ...search, cityCount: CITY_COUNT }, round, best);
      const results: MeasuredTour[] = [];
      // Results come in the order of the runs, whichever worker is first: that keeps the search deterministic.
      for await (const result of anneal.starmap(runs, { cancelRest: true })) results.push(result);
      best = bestTours(results);
      const [shortest] = best;
      if (shortest === undefined) throw new Error(`round ${round + 1} gave no tour`);
      console.log(`round ${round + 1} of ${search.rounds}: ${shortest.length}`); // for `multinode logs`
      yield {
        round: round + 1,
        rounds: search.rounds,
        bestLength: shortest.length,
        bestTour: shortest.tour,
        optimum: BERLIN52_OPTIMUM,
      };
      if (shortest.length <= BERLIN52_OPTIMUM) return;
    }
  },
);
