/** Which hints a change sends, on a real store. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { openTestInvocations, reports, type TestInvocations } from "./test_invocation.js";

const WAIT = { timeout: 5_000, interval: 5 };

let test: TestInvocations;
let hints: number;

beforeEach(async () => {
  test = await openTestInvocations();
  hints = 0;
  test.bus.subscribe(
    "queue",
    () => {
      hints += 1;
    },
    () => {},
  );
});
afterEach(() => test.close());

describe("schedulers are told", () => {
  it("of what is queued, and of a slot that comes back while something waits for it", async () => {
    test.catalog.add("f", { maxConcurrency: 1 });
    await test.start("f");
    const [first] = await test.lease(test.ids.next("sch"));
    await test.start("f");
    await vi.waitFor(() => expect(hints).toBe(2), WAIT);
    if (first === undefined) throw new Error("nothing was leased");
    expect(await test.report(reports.returned(first, 1, true))).toEqual([undefined]);
    await vi.waitFor(() => expect(hints).toBe(3), WAIT);
    expect(await test.lease(test.ids.next("sch"))).toHaveLength(1);
  });

  it("of no slot that nothing waits for", async () => {
    test.catalog.add("f");
    await test.start("f");
    const [only] = await test.lease(test.ids.next("sch"));
    if (only === undefined) throw new Error("nothing was leased");
    expect(await test.report(reports.returned(only, 1, true))).toEqual([undefined]);
    await test.start("f"); // its hint comes after that which is not to come
    await new Promise((resolve) => setImmediate(resolve));
    expect(hints).toBe(2);
  });
});
