import { getEventListeners } from "node:events";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Bell } from "./bell.js";

const LONG_MS = 60_000;
const bell = new Bell();
let stopping: AbortController;

beforeEach(() => {
  vi.useFakeTimers();
  stopping = new AbortController();
});
afterEach(() => {
  vi.useRealTimers();
});

function expectNothingLeft(): void {
  expect([vi.getTimerCount(), getEventListeners(stopping.signal, "abort").length]).toEqual([0, 0]);
}

it.each<[string, () => unknown]>([
  ["a ring", () => bell.ring()],
  ["an abort", () => stopping.abort()],
  ["the end of the time", () => vi.advanceTimersByTime(LONG_MS)],
])("%s ends a wait, of which nothing is left", async (_name, end) => {
  const ended = vi.fn();
  const waiting = bell.wait(LONG_MS, stopping.signal).then(ended);
  await vi.advanceTimersByTimeAsync(LONG_MS - 1);
  expect(ended).not.toHaveBeenCalled();
  end();
  await waiting;
  expectNothingLeft();
});

it("a signal that was aborted before is not waited for", async () => {
  stopping.abort();
  await bell.wait(LONG_MS, stopping.signal);
  expectNothingLeft();
});

it("a ring is for who waits then, and is not kept", async () => {
  const first = bell.wait(LONG_MS, stopping.signal);
  bell.ring();
  bell.ring();
  const ended = vi.fn();
  const second = bell.wait(LONG_MS, stopping.signal).then(ended);
  await first;
  await vi.advanceTimersByTimeAsync(LONG_MS - 1);
  expect(ended).not.toHaveBeenCalled();
  bell.ring();
  await second;
});
