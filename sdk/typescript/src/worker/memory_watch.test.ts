import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { watchMemory } from "./memory_watch.js";

const MIB = 1024 * 1024;
const BASELINE = 80;

/** In MiB, above the baseline. */
let live = 0;
let garbage = 0;
let collections = 0;
let collect: () => Promise<void>;
let error: string | undefined;

beforeEach(() => {
  vi.useFakeTimers();
  [live, garbage, collections, error] = [0, 0, 0, undefined];
  collect = () => {
    garbage = 0;
    return Promise.resolve();
  };
  watchMemory({
    limitBytes: 100 * MIB,
    residentBytes: () => (BASELINE + live + garbage) * MIB,
    collect: () => {
      collections += 1;
      return collect();
    },
    onExceeded: (told) => {
      expect(error).toBeUndefined();
      error = told;
    },
  });
});

afterEach(() => {
  vi.useRealTimers();
});

async function pass(seconds = 1): Promise<void> {
  await vi.advanceTimersByTimeAsync(seconds * 1_000);
}

describe("a watch of memory", () => {
  test("lets alone what is well below the limit", async () => {
    [live, garbage] = [10, 60];
    await pass();
    expect([collections, error]).toEqual([0, undefined]);
  });

  test("has garbage collected before memory runs short, as often as it comes back", async () => {
    for (let round = 1; round <= 3; round += 1) {
      [live, garbage] = [10, 70];
      await pass();
      expect([collections, garbage, error]).toEqual([round, 0, undefined]);
    }
  });

  test("does not collect again and again what is held", async () => {
    live = 80;
    await pass(60);
    expect([collections, error]).toEqual([1, undefined]);
    live = 60;
    await pass();
    live = 80;
    await pass();
    expect(collections).toBe(1);
  });

  test("ends nothing for its garbage, and what holds too much at once", async () => {
    live = 80;
    await pass();
    garbage = 100;
    await pass();
    expect([collections, error]).toEqual([2, undefined]);
    live = 120;
    await pass();
    expect(error).toBe("OutOfMemoryError: used 120 MiB of 100 MiB");
    await pass();
    expect(collections).toBe(3);
  });

  test("waits for a collection that takes long", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    collect = () => promise;
    live = 120;
    await pass(2);
    expect([collections, error]).toEqual([1, undefined]);
    resolve();
    await pass(0);
    expect(error).toBe("OutOfMemoryError: used 120 MiB of 100 MiB");
  });
});
