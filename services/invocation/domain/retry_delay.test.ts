import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { retryDelayMs } from "./retry_delay.js";

const DOUBLING = { initialMs: 100, factor: 2, ceilingMs: 1_000, jitter: 0 };

describe("retryDelayMs", () => {
  it("is none where no delay is asked for", () => {
    expect(retryDelayMs(undefined, 3, 0.5)).toBe(0);
  });

  it("grows by its factor up to its ceiling", () => {
    expect([1, 2, 3, 4, 5, 50].map((failures) => retryDelayMs(DOUBLING, failures, 0.9))).toEqual([
      100, 200, 400, 800, 1_000, 1_000,
    ]);
  });

  it("is made shorter by chance, by its jitter at most", () => {
    expect(retryDelayMs({ ...DOUBLING, jitter: 0.5 }, 1, 0)).toBe(100);
    expect(retryDelayMs({ ...DOUBLING, jitter: 0.5 }, 1, 0.5)).toBe(75);
    expect(retryDelayMs({ ...DOUBLING, jitter: 1 }, 9, 1)).toBe(0);
  });

  it("is whole milliseconds between 0 and the ceiling, however much fails", () => {
    const delays = fc.record({
      initialMs: fc.integer({ min: 0, max: 86_400_000 }),
      factor: fc.double({ min: 1, max: 100, noNaN: true }),
      ceilingMs: fc.integer({ min: 0, max: 86_400_000 }),
      jitter: fc.double({ min: 0, max: 1, noNaN: true }),
    });
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(delays, fc.integer({ min: 1, max: 51 }), random, (delay, failures, chance) => {
        const ms = retryDelayMs(delay, failures, chance);
        expect(Number.isInteger(ms)).toBe(true);
        expect(ms).toBeGreaterThanOrEqual(0);
        expect(ms).toBeLessThanOrEqual(delay.ceilingMs);
      }),
    );
  });
});
