import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, uptime } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Heartbeat } from "./heartbeat.js";
import { createLogger } from "./log.js";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "multinode-heartbeat-"));
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(folder, { recursive: true });
});

it("is fresh from the start to the stop, and what an earlier life left does not count", () => {
  vi.useFakeTimers();
  const file = join(folder, "health");
  writeFileSync(file, "1\n");
  const heartbeat = new Heartbeat(file, createLogger("test", "silent"));
  expect(existsSync(file)).toBe(false);
  heartbeat.start();
  for (let beat = 0; beat < 3; beat += 1) {
    expect(Math.abs(Number(readFileSync(file, "utf8")) - uptime())).toBeLessThan(2);
    rmSync(file);
    vi.advanceTimersByTime(2_000);
  }
  heartbeat.stop();
  vi.advanceTimersByTime(10_000);
  expect(existsSync(file)).toBe(false);
});

it("that cannot be written does not end the service", () => {
  const heartbeat = new Heartbeat(join(folder, "none", "health"), createLogger("test", "silent"));
  expect(() => heartbeat.start()).not.toThrow();
  heartbeat.stop();
});
