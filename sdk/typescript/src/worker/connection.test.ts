/** The connection of a worker to a scheduler that may stand still. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { SchedulerConnection } from "./connection.js";
import { fetchBundle } from "./fetch_bundle.js";
import { Session } from "./session.js";
import { FakeScheduler } from "./testing/fake_scheduler.js";

const STATUS_INTERVAL_MS = 20;
const SILENCE_MS = 200;

let scheduler: FakeScheduler;
let connection: SchedulerConnection;
let statusTimer: NodeJS.Timeout;
let lost: ReturnType<typeof vi.fn>;
let session: Session;
let other: FakeScheduler;

beforeEach(async () => {
  const tell = vi.fn(); // a connection is never closed, and those of other tests go on trying
  lost = tell;
  scheduler = new FakeScheduler();
  other = new FakeScheduler();
  await Promise.all([scheduler.start(), other.start()]);
  session = new Session("wrk-test", "test/1");
  const own = new SchedulerConnection([scheduler.url, other.url], "token", {
    hello: () => session.hello(),
    onWelcome: () => {},
    onCommands: () => {},
    onLost: () => tell(own.silentForMs),
    mayMove: () => session.holdsAny,
  });
  connection = own;
  statusTimer = setInterval(() => connection.send([session.status(0)]), STATUS_INTERVAL_MS);
});
afterEach(() => {
  clearInterval(statusTimer);
  scheduler.stop();
  other.stop();
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

test("is made with another scheduler when its own is gone, and what it runs is said there", async () => {
  session.assign("exe-1", "token of exe-1");
  connection.open();
  await scheduler.until(() => connection.isReady, "the first connection");
  scheduler.stop();
  await other.until(() => connection.isReady && other.connections > 0, "a connection with the other");
  expect(other.of("hello")[0]?.executions).toEqual([{ executionId: "exe-1", executionToken: "token of exe-1" }]);
  expect(connection.url).toBe(other.url);
});

test("of a worker that runs nothing waits for its own scheduler, which alone would take it", async () => {
  connection.open();
  await scheduler.until(() => connection.isReady, "the first connection");
  scheduler.stop();
  const losses = () => lost.mock.calls.length;
  await vi.waitFor(() => expect(losses()).toBeGreaterThanOrEqual(4), { timeout: 5_000 });
  expect(other.connections).toBe(0);
  await scheduler.start();
  await scheduler.until(() => connection.isReady, "its own again");
});

test("gets code that a scheduler broke off from the one that it goes on to", async () => {
  for (const { bundles } of [scheduler, other]) bundles.set("digest", Buffer.from("code"));
  scheduler.bundlesToBreak = Number.POSITIVE_INFINITY;
  session.assign("e1", "token-of-e1");
  connection.open();
  await scheduler.until(() => connection.isReady, "the connection");
  const fetched = fetchBundle(() => connection.url, "token", "digest");
  await vi.waitFor(() => expect(scheduler.authorizations).toHaveLength(1));
  scheduler.stop();
  expect((await fetched).toString()).toBe("code");
  expect(connection.url).toBe(other.url);
});
