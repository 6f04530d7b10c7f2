import { afterEach, beforeEach, expect, it } from "vitest";
import { LeaseInvocationsResponse } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { openTestInvocations, type TestInvocations } from "../test_invocation.js";

const STARTS = 90;

let test: TestInvocations;
beforeEach(async () => {
  test = await openTestInvocations();
});
afterEach(() => test.close());

it("takes of what is started together no more than a message carries, and leaves the rest in the queue", async () => {
  const schedulerId = test.ids.next("sch");
  const schema = JSON.stringify({ description: "x".repeat(90_000) });
  test.catalog.add("f", { maxConcurrency: 100 }, undefined, schema);
  await test.start("f"); // then its queue is there
  expect(await test.lease(schedulerId)).toHaveLength(1);
  const request = { schedulerId, maxCount: 200, excludedQueues: [], leaseDurationMs: 30_000, waitMs: 30_000 };
  const waiting = test.dispatch.leaseInvocations(request);
  const requests = Array.from({ length: STARTS }, () => test.startRequest("f"));
  await test.client.batchStartInvocations({ requestId: "r", requests });
  const { executions } = await waiting;
  const message = LeaseInvocationsResponse.fromPartial({ executions });
  expect(LeaseInvocationsResponse.encode(message).finish().byteLength).toBeLessThanOrEqual(LIMITS.leaseBytes);
  expect(executions.length).toBeGreaterThan(30);
  let rest = 0;
  for (let more = await test.lease(schedulerId); more.length > 0; more = await test.lease(schedulerId))
    rest += more.length;
  expect(executions.length + rest).toBe(STARTS);
});
