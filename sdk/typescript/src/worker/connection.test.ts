/** The connection of a worker to a scheduler that may stand still. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SchedulerConnection } from "./connection.js";
import { Session } from "./session.js";
import { FakeScheduler } from "./testing/fake_scheduler.js";

const STATUS_INTERVAL_MS = 20;
const SILENCE_MS = 200;

let scheduler: FakeScheduler;
let connection: SchedulerConnection;
let statusTimer: NodeJS.Timeout;
let lost: ReturnType<typeof vi.fn>;

beforeEach(async () => {
  const tell = vi.fn(); // a connection is never closed, and those of other tests go on trying
  lost = tell;
  scheduler = new FakeScheduler();
  await scheduler.start();
  const session = new Session("wrk-test", "test/1");
  const own = new SchedulerConnection(scheduler.url, "token", {
    hello: () => session.hello(),
    onWelcome: () => {},
    onCommands: () => {},
    onLost: () => tell(own.silentForMs),
  });
  connection = own;
  statusTimer = setInterval(() => connection.send([session.status(0)]), STATUS_INTERVAL_MS);
});
afterEach(() => {
  clearInterval(statusTimer);
  scheduler.stop();
});

test("is broken when the scheduler says nothing for too long, and is made again", async () => {
  scheduler.options = { silenceAfterMs: SILENCE_MS };
  connection.open();
  await scheduler.until(() => scheduler.connections >= 2, "another connection");
  // The fence counts from the last that was heard.
  expect(lost.mock.calls[0]?.[0]).toBeGreaterThanOrEqual(SILENCE_MS - 5);
});

test("stays while the scheduler answers", async () => {
  scheduler.options = { silenceAfterMs: SILENCE_MS, answersStatus: true };
  connection.open();
  const count = (3 * SILENCE_MS) / STATUS_INTERVAL_MS;
  await scheduler.until(() => scheduler.of("status").length >= count, "signs of life");
  expect(lost).not.toHaveBeenCalled();
  expect(connection.silentForMs).toBeLessThan(SILENCE_MS);
});

test("stays with a scheduler that does not answer any status and says so", async () => {
  connection.open();
  const count = (2 * SILENCE_MS) / STATUS_INTERVAL_MS;
  await scheduler.until(() => scheduler.of("status").length >= count, "signs of life");
  expect(lost).not.toHaveBeenCalled();
  scheduler.stop();
  await vi.waitFor(() => expect(lost).toHaveBeenCalled());
  expect(lost.mock.calls[0]?.[0]).toBeLessThan(SILENCE_MS); // it was there until now
});
