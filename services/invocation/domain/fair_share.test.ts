import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { shareFairly } from "./fair_share.js";

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

describe("shareFairly", () => {
  it.each([
    [[], 5, 0, []],
    [[0, 0], 5, 0, [0, 0]],
    [[10], 3, 0, [3]],
    [[10, 10], 0, 0, [0, 0]],
    [[10, 10], 4, 0, [2, 2]],
    [[1, 10], 6, 0, [1, 5]],
    [[10, 10, 10], 4, 0, [2, 1, 1]],
    [[10, 10, 10], 4, 2, [1, 1, 2]],
    [[5, 5, 5], 1, 7, [0, 1, 0]],
    [[2, 3], 100, 0, [2, 3]],
  ])("shares room %j of %i from %i as %j", (room, total, first, shares) => {
    expect(shareFairly(room, total, first)).toEqual(shares);
  });

  it("gives out all there is, to nobody more than its room, and as evenly as can be", () => {
    const rooms = fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 12 });
    fc.assert(
      fc.property(rooms, fc.integer({ min: 0, max: 200 }), fc.nat(1_000), (room, total, first) => {
        const shares = shareFairly(room, total, first);
        expect(sum(shares)).toBe(Math.min(total, sum(room)));
        const most = Math.max(0, ...shares);
        for (const [index, share] of shares.entries()) {
          expect(share).toBeLessThanOrEqual(room[index] ?? 0);
          // One that got less than another by more than the odd one could take no more.
          if (share < most - 1) expect(share).toBe(room[index]);
        }
      }),
    );
  });

  it("serves each queue in turn where there is one for all", () => {
    const served = [0, 1, 2, 3, 4, 5].map((turn) => shareFairly([9, 9, 9], 1, turn).indexOf(1));
    expect(served).toEqual([0, 1, 2, 0, 1, 2]);
  });
});
