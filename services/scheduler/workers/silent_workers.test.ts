/** A scheduler that stood still: what it believed of its workers may be long over. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createLogger } from "../../platform/log.js";
import { SilentWorkers, type SilentWorkersHost } from "./silent_workers.js";
import type { PooledWorker, WorkerPool } from "./worker_pool.js";

let now = 0;
let looks: SilentWorkers;
const worker = { id: "wrk-1", phase: "active", heardAt: 0, isInDoubt: false } as PooledWorker;
const endWorker = vi.fn<SilentWorkersHost["endWorker"]>();

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  now = 1_000;
  Object.assign(worker, { heardAt: now, isInDoubt: false });
  const pool = {
    workers: new Map([[worker.id, worker]]),
    silent: () => (now - worker.heardAt > 15_000 ? [worker] : []),
  } as unknown as WorkerPool;
  const log = createLogger("test", "silent");
  looks = new SilentWorkers({ pool, monotonic: () => now, log, startFailed: vi.fn(), endWorker });
  looks.start();
});
afterEach(() => {
  looks.stop();
  vi.useRealTimers();
  endWorker.mockReset();
});

function pass(ms: number): void {
  now += ms;
  vi.advanceTimersByTime(1_000);
}

it("ends none of them at once, and trusts none before it speaks", () => {
  for (const ms of [1_000, 8_000]) {
    pass(ms);
    expect(worker).toMatchObject({ isInDoubt: false, heardAt: ms === 8_000 ? now : 1_000 });
  }
  pass(60_000);
  expect(worker).toMatchObject({ isInDoubt: true, heardAt: now });
  expect(endWorker).not.toHaveBeenCalled();
  for (let second = 0; second < 16; second++) pass(1_000);
  expect(endWorker).toHaveBeenCalledWith(worker, expect.anything());
});
