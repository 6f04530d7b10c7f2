import { describe, expect, it } from "vitest";
import { anneal } from "./main.ts";
import { randomTour } from "./tour.ts";

const schedule = { iterations: 2_000, fromTemperature: 400, toTemperature: 4 };

describe("anneal", () => {
  it("runs locally, and gives the same for the same seed", async () => {
    const start = randomTour(52, 1);
    const first = await anneal.callLocal(start, 1, schedule);
    expect(await anneal.callLocal(start, 1, schedule)).toEqual(first);
  });

  it("refuses a list that is no tour", async () => {
    await expect(anneal.callLocal([0, 0, 1], 1, schedule)).rejects.toThrow("must hold every city once");
  });
});
