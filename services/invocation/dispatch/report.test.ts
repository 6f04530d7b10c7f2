import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FunctionSpec } from "../../../gen/multinode/registry/v1/function.pb.js";
import { openTestInvocations, reports, type TestInvocations } from "../test_invocation.js";

let test: TestInvocations;

beforeEach(async () => {
  test = await openTestInvocations();
});
afterEach(() => test.close());

it("a result whose check throws fails its execution, and is stored with others", async () => {
  const outputSchema = JSON.stringify({ uniqueItems: true });
  test.catalog.functions.set("f", FunctionSpec.fromPartial({ functionName: "f", options: {}, outputSchema }));
  const ids = [await test.start("f"), await test.start("f")];
  const [bad, good] = await test.lease(test.ids.next("sch"));
  if (bad === undefined || good === undefined) throw new Error("nothing was leased");
  const hostile = [{ valueOf: 1 }, { valueOf: 1 }];
  expect(await test.report(reports.returned(bad, hostile), reports.returned(good, [1, 2]))).toEqual([
    undefined,
    undefined,
  ]);
  const [failed, succeeded] = await Promise.all(ids.map((id) => test.get(id)));
  expect(failed?.error).toContain(
    "FunctionOutputIsInvalid: the result does not match the output schema: result cannot be",
  );
  expect(succeeded).toMatchObject({ status: expect.anything(), error: "" });
});

describe("reports of results that take long to check", () => {
  it("are stored in several writes, between which others have their turn, and answered as one", async () => {
    const outputSchema = JSON.stringify({ type: "string", pattern: "^(a+)+$" });
    test.catalog.functions.set("f", FunctionSpec.fromPartial({ functionName: "f", options: {}, outputSchema }));
    const ids: string[] = [];
    while (ids.length < 4) ids.push(await test.start("f"));
    const leased = await test.lease(test.ids.next("sch"));
    const ended = leased.map((execution) => reports.returned(execution, `${"a".repeat(60)}b`));
    const unknown = reports.released({ ref: { invocationId: "none", executionId: "none", epoch: 1 } });
    const write = vi.spyOn(test.db, "write");
    expect(await test.report(...ended, unknown)).toEqual([...ids.map(() => undefined), "ExecutionDoesNotExist"]);
    expect(write.mock.calls.length).toBeGreaterThanOrEqual(2);
    write.mockRestore();
    for (const id of ids) expect((await test.get(id)).error).toMatch(/takes longer than 100? ms to check/);
  });
});
