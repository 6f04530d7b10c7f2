import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, it, vi } from "vitest";
import { PostgresClock } from "./postgres_clock.js";

const HOUR_MS = 3_600_000;
const realTime = () => performance.timeOrigin + performance.now();

afterEach(() => void vi.restoreAllMocks());

it("is the server's where that takes long to answer, as well as that can be known", async () => {
  vi.spyOn(Date, "now").mockImplementation(() => Math.round(realTime() + HOUR_MS));
  const clock = new PostgresClock(async () => {
    await delay(300);
    const now = realTime();
    await delay(900);
    return now;
  });
  await clock.measure();
  expect(Math.abs(clock.now() - realTime())).toBeLessThan(600);
  clock.close();
});

it("keeps what it has measured while that fits a later answer, so that it does not shake", async () => {
  let answeredIn = 20;
  const clock = new PostgresClock(async () => {
    const now = realTime() - HOUR_MS;
    await delay(answeredIn);
    return now;
  });
  await clock.measure();
  const offset = clock.now() - Date.now();
  for (answeredIn of [40, 60, 80]) await clock.measure();
  expect(Math.abs(clock.now() - Date.now() - offset)).toBeLessThanOrEqual(1);
  clock.close();
});
