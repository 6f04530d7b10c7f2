import { expect, it } from "vitest";
import { BERLIN52, BERLIN52_OPTIMUM } from "./berlin52.ts";
import { distancesOf, isTour, tourLength } from "./tour.ts";

/** TSPLIB's berlin52.opt.tour; cities count from 1. */
const OPTIMAL_TOUR = [
  1, 49, 32, 45, 19, 41, 8, 9, 10, 43, 33, 51, 11, 52, 14, 13, 47, 26, 27, 28, 12, 25, 4, 6, 15, 5, 24, 48, 38, 37, 40,
  39, 36, 35, 34, 44, 46, 16, 29, 50, 20, 23, 30, 2, 7, 42, 21, 17, 3, 18, 31, 22,
].map((city) => city - 1);

it("has 52 cities, whose known optimal tour has the known length", () => {
  expect(BERLIN52).toHaveLength(52);
  expect(isTour(52, OPTIMAL_TOUR)).toBe(true);
  expect(tourLength(distancesOf(BERLIN52), OPTIMAL_TOUR)).toBe(BERLIN52_OPTIMUM);
});
