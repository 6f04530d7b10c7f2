import { describe, expect, it } from "vitest";
import type { City } from "../tasks/tour.ts";
import { tourSvg } from "./tour_svg.ts";

const CITIES: City[] = [
  [0, 0],
  [100, 0],
  [100, 50],
];

describe("tourSvg", () => {
  it("draws the tour in its order, with y upwards", () => {
    const svg = tourSvg(CITIES, [0, 2, 1], "a tour");
    expect(svg).toContain('viewBox="0 0 180 130"');
    expect(svg).toContain('<polygon points="40,90 140,40 140,90"');
    expect(svg.match(/<circle /g)).toHaveLength(3);
  });

  it("escapes the title", () => {
    expect(tourSvg(CITIES, [0, 1, 2], "a < b & c")).toContain("<title>a &lt; b &amp; c</title>");
  });

  it("refuses an unknown city", () => {
    expect(() => tourSvg(CITIES, [0, 3], "")).toThrow("city 3");
  });
});
