import { beforeEach, describe, expect, it } from "vitest";
import { MemoryBus } from "../platform/bus/memory.js";
import { type Life, NEW_LIFE } from "./domain/life.js";
import { RunningLives } from "./running_lives.js";
import type { Change, StoredInvocation } from "./store.js";
import { stateOf } from "./test_watch.js";

const { identity } = stateOf("inv-1", {});
const running = (revision: number): Life => ({ ...NEW_LIFE, status: "RUNNING", held: 1, revision });
const stored = (life: Life): StoredInvocation => ({ identity, life });
const change = (after: Life): Change => ({ identity, before: NEW_LIFE, after, ended: [], released: [] });

let bus: MemoryBus;
let lives: RunningLives;

beforeEach(() => {
  bus = new MemoryBus();
  lives = new RunningLives(bus);
});

async function hear(revision: number, invocationId = "inv-1"): Promise<void> {
  const told = { invocationId, revision, finished: false, terminated: false };
  bus.publish({ $case: "invocations", value: { invocations: [told] } });
  await Promise.resolve();
}

describe("lives that run", () => {
  it("are known from their lease until they hold no worker", () => {
    expect(lives.get("inv-1")).toBeUndefined();
    lives.changed([change(running(5))]);
    expect(lives.get("inv-1")).toBeUndefined(); // it was leased through another process
    lives.leased([stored(running(5))]);
    lives.changed([change(running(6))]);
    expect(lives.get("inv-1")?.life.revision).toBe(6);
    lives.changed([change({ ...running(7), held: 0 })]);
    expect(lives.get("inv-1")).toBeUndefined();
  });

  it("are forgotten when another process tells of a newer state, and only then", async () => {
    lives.leased([stored(running(5))]);
    await hear(5);
    await hear(9, "inv-2");
    expect(lives.get("inv-1")?.life.revision).toBe(5);
    await hear(6);
    expect(lives.get("inv-1")).toBeUndefined();
  });

  it("are left alone by events once nobody asks for them", async () => {
    lives.leased([stored(running(5))]);
    lives.close();
    await hear(6);
    expect(lives.get("inv-1")).toBeDefined();
  });
});
