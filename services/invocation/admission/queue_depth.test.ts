import { afterEach, beforeEach, expect, it } from "vitest";
import { openTestInvocations, type TestInvocations } from "../test_invocation.js";

let test: TestInvocations;

beforeEach(async () => {
  test = await openTestInvocations(undefined, { queueDepth: 2 });
  test.catalog.add("f", { maxConcurrency: 1 });
  test.catalog.add("g");
});
afterEach(() => test.close());

const FULL = '2 invocations of "f" are waiting: no more are taken';

it("takes no more invocations of a function than may wait, and others still", async () => {
  await test.start("f");
  await test.start("f");
  await expect(test.start("f")).rejects.toMatchObject({ reason: "ResourceExhausted", message: FULL });
  await test.start("g");
});

it("takes of a batch what there is room for, and again when one has left the queue", async () => {
  const requests = [test.startRequest("f"), test.startRequest("f"), test.startRequest("f"), test.startRequest("g")];
  const { outcomes } = await test.client.batchStartInvocations({ requestId: "", requests });
  expect(outcomes?.map(({ outcome }) => outcome?.$case)).toEqual([
    "invocationId",
    "invocationId",
    "error",
    "invocationId",
  ]);
  expect(await test.lease(test.ids.next("sch"), 2)).toHaveLength(2);
  await test.start("f");
  await expect(test.start("f")).rejects.toMatchObject({ reason: "ResourceExhausted" });
});
