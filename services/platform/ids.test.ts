import { describe, expect, it } from "vitest";
import { isId } from "../../sdk/typescript/src/protocol/names.js";
import { firstIdAt, IdSource, timeOfId } from "./ids.js";

/** A source whose clock a test moves. */
function sourceAt(time: { now: number }): IdSource {
  return new IdSource({ now: () => time.now });
}

describe("identifiers", () => {
  it("have their form", () => {
    const ids = sourceAt({ now: Date.now() });
    for (const prefix of ["ver", "inv", "exe", "prj", "wrk", "key", "sch"] as const) {
      expect(isId(prefix, ids.next(prefix))).toBe(true);
    }
  });

  it("grow strictly, within a millisecond and across them", () => {
    const time = { now: 1_000 };
    const ids = sourceAt(time);
    const made: string[] = [];
    for (let i = 0; i < 5_000; i++) {
      if (i % 100 === 0) time.now += 1;
      made.push(ids.next("inv"));
    }
    expect(made).toEqual([...made].sort());
    expect(new Set(made).size).toBe(made.length);
  });

  it("grow while the clock stands back, and follow it when it has caught up", () => {
    const time = { now: 2_000_000 };
    const ids = sourceAt(time);
    const before = ids.next("inv");
    time.now -= 3_600_000;
    const during = ids.next("inv");
    time.now = 2_000_001;
    const after = ids.next("inv");
    expect([after, during, before].sort()).toEqual([before, during, after]);
    expect(after > firstIdAt("inv", 2_000_001)).toBe(true);
  });

  it("of two sources differ", () => {
    const time = { now: 5 };
    const [a, b] = [sourceAt(time), sourceAt(time)];
    const made = new Set(Array.from({ length: 1_000 }, () => [a.next("exe"), b.next("exe")]).flat());
    expect(made.size).toBe(2_000);
  });

  it("are in the order of time, which bounds of a listing rely on", () => {
    const time = { now: Date.UTC(2026, 0, 1) };
    const id = sourceAt(time).next("inv");
    expect(firstIdAt("inv", time.now) <= id).toBe(true);
    expect(firstIdAt("inv", time.now + 1) > id).toBe(true);
    expect(isId("inv", firstIdAt("inv", time.now))).toBe(true);
    expect(firstIdAt("inv", -1)).toBe(firstIdAt("inv", 0));
    expect(isId("inv", firstIdAt("inv", Number.MAX_SAFE_INTEGER))).toBe(true);
  });

  it("hold the time of their making", () => {
    const now = Date.UTC(2026, 0, 1) + 123;
    expect(timeOfId(sourceAt({ now }).next("inv"))).toBe(now);
  });
});
