/** What a scheduler is given by a real invocation service, with messages on their way all the time: as much as it has room for. */
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openTestInvocations, reports, type TestInvocations } from "../../invocation/test_invocation.js";
import { type Asking, type Lessor, Lessors } from "./lessors.js";

const ROOM = 6;
const DURATION_MS = 1_000;

let test: TestInvocations;
beforeEach(async () => {
  test = await openTestInvocations();
});
afterEach(() => test.close());

it.each([0, 1, 3])("is never more than it has room for, with %d ms on the way", async (oneWayMs) => {
  const schedulerId = test.ids.next("sch");
  for (const name of ["f", "g"]) test.catalog.add(name, { maxConcurrency: 50 });
  const travel = async () => {
    if (oneWayMs > 0) await delay(oneWayMs);
  };
  const held: number[] = [];
  let running = 0;
  let isOver = false;
  const offer = () => {
    if (!isOver) lessors.offer(ROOM - running, []);
  };
  const run = async (leased: Parameters<typeof reports.returned>[0]) => {
    await delay(1 + (running % 8));
    await test.report(reports.returned(leased, 1, true));
    running -= 1;
    offer();
  };
  const lease = async ({ count: maxCount, receivedBefore: receivedCount, received }: Asking) => {
    await travel();
    const arrivals: Promise<void>[] = [];
    for await (const executions of test.leases({ schedulerId, maxCount, receivedCount, waitMs: 10_000 })) {
      const arrival = travel().then(() => {
        received(executions.length);
        running += executions.length;
        held.push(running);
        for (const execution of executions) void run(execution);
        offer();
      });
      arrivals.push(arrival);
    }
    await Promise.all(arrivals);
    return true;
  };
  const lessors = new Lessors([], {} as Lessor, lease, offer);
  offer();
  const end = performance.now() + DURATION_MS;
  for (let count = 0; performance.now() < end; count += 1) {
    void test.start(count % 3 === 0 ? "f" : "g");
    await delay(count % 4);
  }
  isOver = true;
  await delay(2 * oneWayMs + 5); // the last request has come
  await lessors.stop(() => void test.leases({ schedulerId, maxCount: 0 }).next());
  await expect.poll(() => running, { timeout: 5_000 }).toBe(0);
  expect(held.length).toBeGreaterThan(50);
  expect(Math.max(...held)).toBeLessThanOrEqual(ROOM);
});
