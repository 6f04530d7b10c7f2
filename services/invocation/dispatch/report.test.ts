import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FunctionSpec } from "../../../gen/multinode/registry/v1/function.pb.js";
import { openTestInvocations, reports, type TestInvocations } from "../test_invocation.js";

let test: TestInvocations;

beforeEach(async () => {
  test = await openTestInvocations();
});
afterEach(() => test.close());

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
    expect(write.mock.calls.length).toBeGreaterThanOrEqual(ids.length);
    write.mockRestore();
    for (const id of ids) expect((await test.get(id)).error).toContain("takes longer than 100 ms to check");
  });
});
