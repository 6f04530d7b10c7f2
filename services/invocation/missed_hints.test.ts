/** Whoever waits for hints looks at once when hints were missed. */
import { expect, it, vi } from "vitest";
import { MemoryBus } from "../platform/bus/memory.js";
import { ParkedLeases } from "./dispatch/parked_leases.js";
import { LogFollower } from "./log_follower.js";
import { WatchHub } from "./watch_hub.js";

const NEVER = new AbortController().signal;
/** The tests end long before it, unless nobody looks. */
const LONG_MS = 60_000;

it("a watcher looks at all that it watches, once", () => {
  const bus = new MemoryBus();
  const hub = new WatchHub(bus);
  const [watcher, other] = [0, 1].map(() => ({ mark: vi.fn(), markAll: vi.fn() }));
  if (watcher === undefined || other === undefined) throw new Error("there are two");
  hub.add("inv-1", watcher);
  hub.add("inv-2", watcher);
  hub.add("inv-2", other);
  bus.tellMissed();
  expect(watcher.markAll).toHaveBeenCalledTimes(1);
  expect(other.markAll).toHaveBeenCalledTimes(1);
  hub.close();
  bus.tellMissed();
  expect(other.markAll).toHaveBeenCalledTimes(1);
});

it("a scheduler that waits for something to lease looks", async () => {
  const bus = new MemoryBus();
  const parked = new ParkedLeases(bus);
  const command = { schedulerId: "sch-1", maxCount: 1, leaseDurationMs: 1_000, excludedQueues: new Set<string>() };
  const lease = parked.open(command);
  lease.isToLook = false;
  const waiting = lease.wait(LONG_MS);
  const { round } = parked;
  bus.tellMissed();
  await waiting;
  expect(lease.isToLook).toBe(true);
  expect(parked.round).toBeGreaterThan(round);
  parked.closeAll();
});

it("a scheduler waits no more once the service stops, nor does one that asks then", async () => {
  const parked = new ParkedLeases(new MemoryBus());
  const command = { schedulerId: "sch-1", maxCount: 1, leaseDurationMs: 1_000, excludedQueues: new Set<string>() };
  const lease = parked.open(command);
  const waiting = lease.wait(LONG_MS);
  parked.closeAll();
  await waiting;
  expect(lease.isEnding).toBe(true);
  expect(parked.open(command).isEnding).toBe(true);
});

it("a follower of a log looks", async () => {
  const bus = new MemoryBus();
  const follower = new LogFollower(bus, "inv-1");
  follower.arm();
  const waiting = follower.wait(LONG_MS, NEVER);
  bus.tellMissed();
  await waiting;
  follower.close();
});
