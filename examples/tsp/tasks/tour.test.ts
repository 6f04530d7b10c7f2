import { describe, expect, it } from "vitest";
import { distance, distancesOf, isTour, randomTour, tourLength } from "./tour.ts";

const SQUARE = distancesOf([
  [0, 0],
  [0, 10],
  [10, 10],
  [10, 0],
]);

describe("distances and lengths", () => {
  it("rounds each distance, and closes the tour", () => {
    expect(distance(SQUARE, 0, 2)).toBe(14);
    expect(tourLength(SQUARE, [0, 1, 2, 3])).toBe(40);
    expect(tourLength(SQUARE, [0, 2, 1, 3])).toBe(48);
  });
});

describe("isTour", () => {
  it.each([
    ["every city once", [2, 0, 1], true],
    ["a city twice", [0, 1, 1], false],
    ["a city missing", [0, 1], false],
    ["a city too many", [0, 1, 2, 3], false],
    ["an unknown city", [0, 1, 3], false],
    ["a negative city", [0, 1, -1], false],
    ["no whole number", [0, 1, 1.5], false],
  ])("%s", (_, list, expected) => {
    expect(isTour(3, list)).toBe(expected);
  });
});

describe("randomTour", () => {
  it("is a tour, the same for the same seed only", () => {
    const tour = randomTour(52, 1);
    expect(isTour(52, tour)).toBe(true);
    expect(randomTour(52, 1)).toEqual(tour);
    expect(randomTour(52, 2)).not.toEqual(tour);
  });
});
