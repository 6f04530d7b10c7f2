import { describe, expect, it } from "vitest";
import { boundedChecks } from "./bounded_checks.js";

const ENDLESS = /^(a+)+$/;
const endless = () => ENDLESS.test(`${"a".repeat(60)}b`);
const short = (n: number) => () => n;

function busy(ms: number): number {
  const until = performance.now() + ms;
  let turns = 0;
  while (performance.now() < until) turns += 1;
  return turns;
}

describe("bounded checks", () => {
  it("answer in order those that end in the time, and then the one that does not", () => {
    const checks = [short(1), short(2), endless, short(3)];
    expect(boundedChecks<unknown>(checks, 30)).toEqual([1, 2]);
    expect(boundedChecks<unknown>(checks.slice(2), 30)).toEqual([undefined]);
    expect(boundedChecks<unknown>(checks.slice(3), 30)).toEqual([3]);
  });

  it("stop when the time is over for all of them together, and each has all of it when it is the first", () => {
    const checks = [1, 2, 3, 4].map(() => () => busy(30) > 0);
    const parts: number[] = [];
    for (let done = 0; done < checks.length; ) {
      const results = boundedChecks(checks.slice(done), 50);
      expect(results).not.toContain(undefined);
      parts.push(results.length);
      done += results.length;
    }
    expect(parts.length).toBeGreaterThan(1);
  });

  it("count the processor's time: one that stood still is asked again", () => {
    let asked = 0;
    const sleeper = () => {
      asked += 1;
      if (asked === 1) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 120);
      return "valid";
    };
    expect(boundedChecks([sleeper], 50)).toEqual(["valid"]);
  });

  it("end what takes too long also where others take the processor meanwhile", () => {
    const slow = () => {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60);
      return endless();
    };
    expect(boundedChecks([slow], 30)).toEqual([undefined]);
  });

  it("pass on what is thrown, and are ready for the next", () => {
    const broken = () => {
      throw new RangeError("on purpose");
    };
    expect(() => boundedChecks([short(1), broken], 30)).toThrow(new RangeError("on purpose"));
    expect(boundedChecks([short(2)], 30)).toEqual([2]);
    expect(boundedChecks([], 30)).toEqual([]);
  });
});
