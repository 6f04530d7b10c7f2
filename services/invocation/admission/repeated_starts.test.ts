import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Arguments } from "../../../gen/multinode/type/v1/payload.pb.js";
import type { StartCommand } from "../requests.js";
import { openTestInvocations, reports, type TestInvocations } from "../test_invocation.js";
import { bodyHashOf } from "./idempotency.js";

let test: TestInvocations;

beforeEach(async () => {
  test = await openTestInvocations();
  test.catalog.add("f");
});
afterEach(() => test.close());

const once = { idempotencyKey: "order-1" };

describe("a start with an idempotency key that comes again", () => {
  it("is answered with the first one's id after its function has gone", async () => {
    const first = await test.start("f", once);
    test.catalog.functions.delete("f");
    expect(await test.start("f", once)).toBe(first);
    await expect(test.start("f")).rejects.toMatchObject({ reason: "FunctionDoesNotExist" });
    const others = { ...once, parentInvocationId: first };
    await expect(test.start("f", others)).rejects.toMatchObject({ reason: "IdempotencyKeyReused" });
    await expect(test.start("f", { idempotencyKey: "order-2" })).rejects.toMatchObject({
      reason: "FunctionDoesNotExist",
    });
  });

  it("is answered with the first one's id in a version that takes other inputs", async () => {
    const first = await test.start("f", once);
    test.catalog.add("f", {}, undefined, '{"prefixItems":[{"type":"string"}]}');
    expect(await test.start("f", once)).toBe(first);
    await expect(test.start("f")).rejects.toMatchObject({ reason: "FunctionInputIsInvalid" });
  });

  it("is answered with the first one's id in a batch, each for itself", async () => {
    const first = await test.start("f", once);
    test.catalog.functions.delete("f");
    test.catalog.add("g");
    const requests = [test.startRequest("f", once), test.startRequest("f"), test.startRequest("g")];
    const { outcomes } = await test.client.batchStartInvocations({ requestId: "", requests });
    expect(outcomes?.map(({ outcome }) => outcome?.$case)).toEqual(["invocationId", "error", "invocationId"]);
    expect(outcomes?.[0]?.outcome?.value).toBe(first);
  });

  it("is answered with the first one's id after its parent has ended", async () => {
    const parentInvocationId = await test.start("f");
    const child = { ...once, parentInvocationId };
    const first = await test.start("f", child);
    const [leased] = await test.lease(test.ids.next("sch"), 1);
    if (leased === undefined) throw new Error("there was nothing to lease");
    await test.report(reports.returned(leased, 1, true));
    expect(await test.start("f", child)).toBe(first);
    await expect(test.start("f", { parentInvocationId })).rejects.toMatchObject({
      reason: "InvocationIsAlreadyTerminated",
    });
  });

  it("may leave out the content type of JSON, and an empty list of arguments", async () => {
    const json = (text: string, contentType = "application/json") => ({ contentType, data: Buffer.from(text) });
    const same = [
      [json("[1]"), json("[1]", "")],
      [undefined, json("[]"), json(" [ ]\n", ""), { contentType: "application/cbor", data: Buffer.of(0x80) }],
    ];
    for (const [place, ways] of same.entries()) {
      const ids = [];
      for (const positional of ways) {
        const request = { idempotencyKey: `k${place}`, arguments: { positional, named: undefined } };
        ids.push(await test.start("f", request));
      }
      expect(new Set(ids).size).toBe(1);
    }
    const others = { idempotencyKey: "k0", arguments: { positional: json("[ 1 ]"), named: undefined } };
    await expect(test.start("f", others)).rejects.toMatchObject({ reason: "IdempotencyKeyReused" });
  });

  it("is the same to servers before and after an upgrade", () => {
    const positional = { contentType: "application/json", data: Buffer.from("[1]") };
    const args = { positional, named: undefined };
    const encodedArguments = Arguments.encode(args).finish();
    const names = {
      projectName: "p",
      versionId: "",
      functionName: "f",
      parentId: null,
      idempotencyKey: "k",
      ttlMs: null,
    };
    const command: StartCommand = { ...names, arguments: args, encodedArguments };
    const hash = createHash("sha256").update('["prj-1","f",null]').update(encodedArguments).digest();
    expect(bodyHashOf("prj-1", command)).toEqual(hash);
  });

  it("starts anew after a day", async () => {
    const first = await test.start("f", once);
    test.clock.forward(86_400_001);
    expect(await test.start("f", once)).not.toBe(first);
    test.catalog.functions.delete("f");
    test.clock.forward(86_400_001);
    await expect(test.start("f", once)).rejects.toMatchObject({ reason: "FunctionDoesNotExist" });
  });
});
