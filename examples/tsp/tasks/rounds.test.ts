import { describe, expect, it } from "vitest";
import { annealTour, type MeasuredTour } from "./annealing.ts";
import { BERLIN52, BERLIN52_OPTIMUM } from "./berlin52.ts";
import { bestTours, runsOfRound } from "./rounds.ts";
import { distancesOf, isTour } from "./tour.ts";

const search = { cityCount: 5, seed: 1, rounds: 4, runs: 3, iterations: 100 };
const tours = [
  { tour: [0, 1, 2, 3, 4], length: 30 },
  { tour: [0, 2, 1, 3, 4], length: 10 },
  { tour: [0, 3, 1, 2, 4], length: 20 },
];

describe("bestTours", () => {
  it("keeps the two shortest, best first", () => {
    expect(bestTours(tours).map(({ length }) => length)).toEqual([10, 20]);
  });
});

describe("runsOfRound", () => {
  it("begins with random tours", () => {
    const starts = runsOfRound(search, 0, []).map(([start]) => start);
    expect(starts).toHaveLength(3);
    expect(starts.every((start) => isTour(5, start))).toBe(true);
  });

  it("goes on from the best tours, each with its own seed", () => {
    const runs = runsOfRound(search, 1, bestTours(tours));
    expect(runs.map(([start]) => start)).toEqual([tours[1]?.tour, tours[2]?.tour, tours[1]?.tour]);
    expect(runs.map(([, seed]) => seed)).toEqual([4, 5, 6]);
  });

  it("cools from round to round, each beginning where the one before ended", () => {
    const schedules = [0, 1, 2, 3].map((round) => runsOfRound(search, round, [])[0]?.[2]);
    expect(schedules[0]?.fromTemperature).toBe(400);
    expect(schedules[3]?.toTemperature).toBeCloseTo(4);
    expect(schedules[1]?.fromTemperature).toBe(schedules[0]?.toTemperature);
  });

  it("keeps seeds within 32 bits", () => {
    const seeds = runsOfRound({ ...search, seed: 0xffff_ffff }, 0, []).map(([, seed]) => seed);
    expect(seeds).toEqual([0xffff_ffff, 0, 1]);
  });
});

describe("a whole search", () => {
  it.each([1, 2, 3])("comes within 5 %% of the optimum with short runs, seed %i", (seed) => {
    const distances = distancesOf(BERLIN52);
    const whole = { cityCount: BERLIN52.length, seed, rounds: 10, runs: 4, iterations: 20_000 };
    let best: MeasuredTour[] = [];
    for (let round = 0; round < whole.rounds; round += 1) {
      best = bestTours(runsOfRound(whole, round, best).map((run) => annealTour(distances, ...run)));
    }
    expect(best[0]?.length).toBeLessThanOrEqual(BERLIN52_OPTIMUM * 1.05);
  });
});
