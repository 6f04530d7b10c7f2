import { afterEach, describe, expect, it, vi } from "vitest";
import { type Asking, type Lessor, Lessors } from "./lessors.js";

/** Requests wait until a test ends them. The last place is the one that leads to any of the others. */
function openLessors(count: number) {
  const lessors = Array.from({ length: count }, () => ({}) as Lessor);
  const any = {} as Lessor;
  const waiting = new Map<Asking, (isWell: boolean) => void>();
  let changes = 0;
  const asking = new Lessors(
    lessors,
    any,
    async (request) => {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      waiting.set(request, resolve);
      const isWell = await promise;
      waiting.delete(request);
      return isWell;
    },
    () => {
      changes += 1;
    },
  );
  const all = [...lessors, any];
  const indexOf = ({ lessor }: Asking) => all.indexOf(lessor);
  const end = async (isWell: boolean, places: number[]) => {
    for (const [request, settle] of waiting) if (places.includes(indexOf(request))) settle(isWell);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    offer: (room: number, excluded: string[] = []) => asking.offer(room, excluded),
    /** What the newest request of each place asks for. */
    asked: () => all.map((lessor) => [...waiting.keys()].findLast((each) => each.lessor === lessor)?.count ?? 0),
    requests: () => [...waiting.keys()].map((request) => [indexOf(request), request.count, request.isDone()]),
    askings: () => [...waiting.keys()],
    receivedBefore: () => [...waiting.keys()].map(({ receivedBefore }) => receivedBefore),
    /** So many executions come for the newest request of a place. */
    come: (place: number, count: number) =>
      [...waiting.keys()].findLast((request) => indexOf(request) === place)?.received(count),
    answer: (...places: number[]) => end(true, places),
    fail: (...places: number[]) => end(false, places),
    changes: () => changes,
    /** Answers which places are told to end the request that waits there. */
    stop: async () => {
      const ended: number[] = [];
      await asking.stop((lessor) => void ended.push(all.indexOf(lessor)));
      return ended;
    },
  };
}

afterEach(() => vi.useRealTimers());

describe("one lessor", () => {
  it("is asked for all that there is room for, and anew when there is half as much again", async () => {
    const test = openLessors(0);
    test.offer(0);
    expect(test.requests()).toEqual([]);
    for (const room of [3, 4]) test.offer(room);
    expect(test.requests()).toEqual([[0, 3, false]]);
    test.offer(5);
    expect(test.requests()).toEqual([
      [0, 3, true],
      [0, 5, false],
    ]);
    await test.answer(0);
    test.offer(1);
    expect(test.asked()).toEqual([1]);
  });

  it("is asked anew at once where there is no room any more for what it may bring, and not where there is again", async () => {
    const test = openLessors(0);
    test.offer(4);
    test.offer(3, ["p/f"]);
    expect(test.requests()).toEqual([
      [0, 4, true],
      [0, 3, false],
    ]);
    for (const excluded of [["p/f"], []]) test.offer(3, excluded);
    expect(test.requests()).toHaveLength(2);
    test.offer(0, ["p/g"]); // asks for nothing, which ends the request before
    expect(test.requests().map(([, count]) => count)).toEqual([4, 3, 0]);
    await test.answer(0);
    test.offer(0, ["p/h"]);
    expect(test.requests()).toEqual([]);
  });
});

describe("what comes of a request", () => {
  it("makes room for another one, which tells how much of it had come", async () => {
    const test = openLessors(0);
    test.offer(10);
    test.come(0, 3);
    test.offer(10); // for 7 of them it is asking already
    expect(test.asked()).toEqual([10]);
    test.come(0, 1);
    test.offer(10);
    expect(test.requests()).toEqual([
      [0, 10, true],
      [0, 10, false],
    ]);
    expect(test.receivedBefore()).toEqual([undefined, 4]);
    await test.answer(0);
    test.offer(1);
    expect(test.receivedBefore()).toEqual([undefined]);
  });

  it("late, when another has replaced it, counts as what that has asked for", () => {
    const test = openLessors(0);
    test.offer(2);
    test.offer(4);
    const [first, second] = test.askings();
    first?.received(2);
    second?.received(1);
    test.offer(1);
    expect(test.requests()).toHaveLength(2);
    second?.received(1);
    expect(second?.isDone()).toBe(true);
    test.offer(1);
    expect(test.requests()).toHaveLength(3);
    expect(test.receivedBefore()).toEqual([undefined, 0, 4]);
  });
});

describe("several lessors", () => {
  it("are asked for their shares, and together for no more than there is room for", async () => {
    const test = openLessors(3);
    test.offer(7);
    expect(test.asked().reduce((sum, count) => sum + count)).toBe(7);
    expect(Math.max(...test.asked())).toBe(3);
    await test.answer(1);
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
      await test.answer(0, 1);
    }
    expect(first).toEqual(new Set([0, 1]));
  });

  it("rest where they do not answer, longer each time, and leave the room to the others", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const test = openLessors(2);
    for (const restMs of [500, 1_000]) {
      test.offer(4);
      expect(test.asked()).toEqual([2, 2, 0]);
      await test.fail(0);
      await test.answer(1);
      test.offer(4);
      expect(test.asked()).toEqual([0, 4, 0]);
      await test.answer(1);
      const before = test.changes();
      vi.advanceTimersByTime(restMs - 1);
      expect(test.changes()).toBe(before);
      vi.advanceTimersByTime(1);
      expect(test.changes()).toBe(before + 1);
    }
  });

  it("end, where a request waits, with its answer", async () => {
    const test = openLessors(2);
    test.offer(4);
    await test.answer(1);
    const stopped = test.stop();
    await test.answer(0);
    expect(await stopped).toEqual([0]);
  });

  it("are passed by while all of them rest", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const test = openLessors(2);
    test.offer(4);
    await test.fail(0, 1);
    test.offer(4);
    expect(test.asked()).toEqual([0, 0, 4]);
    await test.fail(2);
    test.offer(4);
    expect(test.requests()).toEqual([]);
    await test.stop();
    const before = test.changes();
    vi.advanceTimersByTime(60_000);
    expect(test.changes()).toBe(before);
  });
});
