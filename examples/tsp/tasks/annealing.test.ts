import { describe, expect, it } from "vitest";
import { annealTour } from "./annealing.ts";
import { BERLIN52, BERLIN52_OPTIMUM } from "./berlin52.ts";
import { distancesOf, isTour, randomTour, tourLength } from "./tour.ts";

const distances = distancesOf(BERLIN52);
const schedule = { iterations: 200_000, fromTemperature: 400, toTemperature: 4 };
const start = randomTour(BERLIN52.length, 1);

describe("annealTour", () => {
  it.each([1, 2, 3])("comes within 5 %% of the optimum alone, seed %i", (seed) => {
    const { tour, length } = annealTour(distances, start, seed, schedule);
    expect(isTour(BERLIN52.length, tour)).toBe(true);
    expect(length).toBeLessThanOrEqual(BERLIN52_OPTIMUM * 1.05);
  });

  it("counts the length right through all moves", () => {
    const { tour, length } = annealTour(distances, start, 1, schedule);
    expect(tourLength(distances, tour)).toBe(length);
  });

  it("is deterministic for a seed, and differs between seeds", () => {
    const short = { ...schedule, iterations: 2_000 };
    const first = annealTour(distances, start, 7, short);
    expect(annealTour(distances, start, 7, short)).toEqual(first);
    expect(annealTour(distances, start, 8, short)).not.toEqual(first);
  });

  it("answers the start where nothing better is met", () => {
    const frozen = annealTour(distances, start, 1, { iterations: 1, fromTemperature: 1e-9, toTemperature: 1e-9 });
    expect(frozen.length).toBeLessThanOrEqual(tourLength(distances, start));
  });
});
