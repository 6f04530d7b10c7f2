import { expect, test } from "vitest";
import { LeasedExecution } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { neverBegan, newRun, unplace } from "./run.js";
import type { PooledWorker } from "./workers/worker_pool.js";

const EXIT = { workerId: "wrk-1", description: "exited with code 1", outOfMemory: false };
const leaving = { isLeaving: true, taken: Number.POSITIVE_INFINITY, running: new Set() } as unknown as PooledWorker;

test("what never began is placed again twice, so that what ends every worker is not tried for ever", () => {
  const run = newRun(LeasedExecution.fromPartial({ ref: { executionId: "exe-1" } }));
  for (let times = 0; times < 2; times += 1) {
    expect(neverBegan(run, EXIT, leaving)).toBe(true);
    unplace(run);
  }
  expect(neverBegan(run, EXIT, leaving)).toBe(false);
});

test("what was said to have begun has begun", () => {
  const run = newRun(LeasedExecution.fromPartial({ ref: { executionId: "exe-1" } }));
  run.isStartReported = true;
  expect(neverBegan(run, EXIT, leaving)).toBe(false);
});
