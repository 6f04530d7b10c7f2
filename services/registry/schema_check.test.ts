import { describe, expect, it } from "vitest";
import { z } from "zod";
import { createSchemaCheck } from "./schema_check.js";

describe("schema check", () => {
  it("accepts what is a schema, also with the same $id twice", async () => {
    const check = createSchemaCheck();
    const user = z.tuple([z.object({ email: z.email(), size: z.int().min(1) })]);
    for (const schema of [true, {}, z.toJSONSchema(user), { $id: "a", type: "string" }, { $id: "a", type: "number" }]) {
      expect(await check(JSON.stringify(schema))).toBeUndefined();
    }
    expect(
      await check(JSON.stringify({ $defs: { n: { type: ["number", "null"] } }, $ref: "#/$defs/n" })),
    ).toBeUndefined();
  });

  it("takes no longer where much is referred to often", async () => {
    const much = { allOf: Array.from({ length: 2_000 }, () => ({ type: "string" })) };
    const often = Array.from({ length: 2_000 }, () => ({ $ref: "#/$defs/much" }));
    // Each reference replaced by what it refers to would be four million parts.
    expect(await createSchemaCheck()(JSON.stringify({ $defs: { much }, anyOf: often }))).toBeUndefined();
  });

  it.each([
    ["{", "is not JSON"],
    ["[]", "must be an object or a boolean"],
    ["null", "must be an object or a boolean"],
    ['{"type":"text"}', "must be equal to one of the allowed values"],
    ['{"$ref":"https://example.com/other.json"}', "can't resolve reference"],
    ['{"pattern":"("}', "is not a JSON Schema"],
    ['{"$schema":"http://json-schema.org/draft-07/schema#"}', "is not a JSON Schema"],
    ['{"$async":true}', "is not a JSON Schema"],
    ['{"properties":{"a":{"$async":true,"type":"string"}}}', "is not a JSON Schema"],
    [`${'{"not":'.repeat(9_000)}{}${"}".repeat(9_000)}`, "is not a JSON Schema"],
  ])("refuses what is none (%#)", async (text, problem) => {
    const check = createSchemaCheck();
    expect(await check(text)).toContain(problem);
    expect(await check('{"type":"string"}')).toBeUndefined();
  });
});
