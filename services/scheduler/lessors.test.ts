import { describe, expect, it } from "vitest";
import { type Asking, type Lessor, Lessors } from "./lessors.js";

/** Requests wait until a test ends them. */
function openLessors(count: number) {
  const lessors = Array.from({ length: count }, () => ({}) as Lessor);
  const waiting = new Map<Asking, () => void>();
  let ended = 0;
  const asking = new Lessors(
    lessors,
    async (request) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      waiting.set(request, resolve);
      await promise;
      waiting.delete(request);
    },
    () => {
      ended += 1;
    },
  );
  const indexOf = ({ lessor }: Asking) => lessors.indexOf(lessor);
  return {
    offer: (room: number) => asking.offer(room, []),
    /** What the newest request of each place asks for. */
    asked: () => lessors.map((lessor) => [...waiting.keys()].findLast((each) => each.lessor === lessor)?.count ?? 0),
    requests: () => [...waiting.keys()].map((request) => [indexOf(request), request.count, request.isReplaced()]),
    end: async (...places: number[]) => {
      const before = ended;
      const ending = [...waiting].filter(([request]) => places.includes(indexOf(request)));
      for (const [, end] of ending) end();
      while (ended < before + ending.length) await Promise.resolve();
    },
    ended: () => asking.ended(),
  };
}

describe("one lessor", () => {
  it("is asked for all that there is room for, and anew when there is twice as much", async () => {
    const test = openLessors(1);
    test.offer(0);
    expect(test.requests()).toEqual([]);
    for (const room of [3, 4, 5]) test.offer(room);
    expect(test.requests()).toEqual([[0, 3, false]]);
    test.offer(6);
    expect(test.requests()).toEqual([
      [0, 3, true],
      [0, 6, false],
    ]);
    await test.end(0);
    await test.ended();
    test.offer(1);
    expect(test.asked()).toEqual([1]);
  });
});

describe("several lessors", () => {
  it("are asked for their shares, and together for no more than there is room for", async () => {
    const test = openLessors(3);
    test.offer(7);
    expect(test.asked().reduce((sum, count) => sum + count)).toBe(7);
    expect(Math.max(...test.asked())).toBe(3);
    await test.end(1);
    test.offer(2);
    expect(test.asked()[1]).toBe(0);
    test.offer(6);
    expect(test.asked().reduce((sum, count) => sum + count)).toBeLessThanOrEqual(6);
    expect(test.asked()[1]).toBeGreaterThan(0);
  });

  it("are asked in turn where there is not room for all, so that one that hangs does not keep it", async () => {
    const test = openLessors(2);
    const first = new Set<number>();
    for (let time = 0; time < 4; time += 1) {
      test.offer(1);
      const [[place] = [-1]] = test.requests();
      first.add(Number(place));
      await test.end(0, 1);
    }
    expect(first).toEqual(new Set([0, 1]));
  });
});
