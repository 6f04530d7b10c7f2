import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SpareRefill } from "./spare_refill.js";

let refill: SpareRefill;
let wake: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  wake = vi.fn();
  refill = new SpareRefill(wake);
});
afterEach(() => {
  vi.useRealTimers();
});

describe("spares that are missing", () => {
  it("are started a moment later, all at once, counted from the first", () => {
    expect(refill.take(1)).toBe(0);
    vi.advanceTimersByTime(60);
    expect(refill.take(2)).toBe(0);
    vi.advanceTimersByTime(40);
    expect(wake).toHaveBeenCalledTimes(1);
    expect(refill.take(2)).toBe(2);
    expect(refill.take(1)).toBe(0);
  });

  it("are not waited for when none is missing any more, or at the end", () => {
    refill.take(1);
    expect(refill.take(0)).toBe(0);
    refill.take(1);
    refill.stop();
    vi.advanceTimersByTime(1_000);
    expect(wake).not.toHaveBeenCalled();
    expect(refill.take(1)).toBe(0);
  });
});
