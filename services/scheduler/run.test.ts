import { expect, test } from "vitest";
import { InterruptReason, LeasedExecution } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { lostWith, neverBegan, newRun, type Run, unplace } from "./run.js";
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

test("what was cancelled counts as a failed attempt where its worker was told of it, and so may have begun it", () => {
  const run = newRun(LeasedExecution.fromPartial({ ref: { executionId: "exe-1" } }));
  run.interrupt = { reason: InterruptReason.CANCELLED, timer: undefined } as unknown as Run["interrupt"];
  run.killed = true;
  expect(lostWith(run, EXIT, undefined, false)).toMatchObject({ interrupted: true, killed: false, released: true });
  run.wasSent = true;
  expect(lostWith(run, EXIT, leaving, false)).toMatchObject({ interrupted: true, killed: false, released: true });
  expect(lostWith(run, EXIT, undefined, false)).toMatchObject({
    result: { value: { error: "InvocationCancelledError: the execution was killed when its grace period was over" } },
    interrupted: true,
    killed: true,
  });
});
