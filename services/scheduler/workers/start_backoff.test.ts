import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { StartBackoff } from "./start_backoff.js";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** How long it waits after a failure, in milliseconds. */
function waitAfterFailure(backoff: StartBackoff): number {
  backoff.failed();
  let waitedMs = 0;
  for (; backoff.isWaiting; waitedMs += 1) vi.advanceTimersByTime(1);
  return waitedMs;
}

describe("the next attempt to provision", () => {
  it("comes later with each failure, up to a bound, and soon again after a success", () => {
    const backoff = new StartBackoff(() => {});
    expect(backoff.isWaiting).toBe(false);
    expect(Array.from({ length: 8 }, () => waitAfterFailure(backoff))).toEqual([
      200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000,
    ]);
    backoff.succeeded();
    expect(waitAfterFailure(backoff)).toBe(200);
  });

  it("counts workers that fail together once, and is told once when it is time", () => {
    const over = vi.fn();
    const backoff = new StartBackoff(over);
    for (let worker = 0; worker < 5; worker++) backoff.failed();
    vi.advanceTimersByTime(200);
    expect([backoff.isWaiting, over.mock.calls.length]).toEqual([false, 1]);
    vi.advanceTimersByTime(60_000);
    expect(over).toHaveBeenCalledTimes(1);
    expect(waitAfterFailure(backoff)).toBe(400);
  });
});
