import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { createSchemaCheck } from "./schema_check.js";

const NEVER = new AbortController().signal;

describe("schema check", () => {
  it("accepts what is a schema, also with the same $id twice", async () => {
    const check = createSchemaCheck(NEVER);
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
    expect(await createSchemaCheck(NEVER)(JSON.stringify({ $defs: { much }, anyOf: often }))).toBeUndefined();
  });

  /** One that takes seconds to compile, and is small enough to be taken. */
  function slow(n: number): string {
    const names = Array.from({ length: 2_000 }, (_, index) => [`^(a${n}_${index}|b)*$`, {}]);
    return JSON.stringify({ patternProperties: Object.fromEntries(names), additionalProperties: false });
  }

  it("gives up what takes long to compile, and all of a version after a while, with time for others in between", async () => {
    const check = createSchemaCheck(NEVER, 1_000);
    let turns = 0;
    const counting = setInterval(() => (turns += 1), 1);
    const results = await Promise.all(Array.from({ length: 60 }, (_, n) => check(slow(n))));
    clearInterval(counting);
    expect(results.at(-1)).toBe(`was not compiled: those before it took 1000 ms`);
    for (const result of results)
      expect(result).toMatch(/was not compiled|takes longer than 500 ms|too large, or too deep/);
    expect(turns).toBeGreaterThan(100);
    expect(await createSchemaCheck(NEVER)('{"type":"string"}')).toBeUndefined();
  });

  it("takes as many ordinary schemas as a version may have", async () => {
    const check = createSchemaCheck(NEVER);
    const fields = Array.from({ length: 20 }, (_, index) => [`f${index}`, { type: "string", minLength: 1 }]);
    const schema = (n: number) => JSON.stringify({ title: `${n}`, properties: Object.fromEntries(fields) });
    const results = await Promise.all(Array.from({ length: 1_000 }, (_, n) => check(schema(n))));
    expect(results.filter((result) => result !== undefined)).toEqual([]);
  }, 30_000);

  it("is right where it was interrupted because others had the processor, and begins again", async () => {
    const check = createSchemaCheck(NEVER);
    const compile = vi.spyOn(Ajv2020.prototype, "compile");
    const stands = new Int32Array(new SharedArrayBuffer(4));
    compile.mockImplementationOnce(function (this: Ajv2020, schema: object) {
      const real = Object.getPrototypeOf(Ajv2020.prototype).compile as Ajv2020["compile"];
      // As in the middle of its work.
      this.compile({ $id: "begun" });
      Atomics.wait(stands, 0, 0, 700);
      return real.call(this, schema);
    } as never);
    expect(await check('{"type":"string"}')).toBeUndefined();
    expect(await check('{"type":"number"}')).toBeUndefined();
    expect(new Set(compile.mock.contexts).size).toBe(2);
    compile.mockRestore();
  });

  it("ends with its call", async () => {
    const gone = new AbortController();
    const check = createSchemaCheck(gone.signal);
    const results = Array.from({ length: 60 }, (_, n) => check(slow(n)));
    gone.abort(new Error("the caller is gone"));
    for (const result of await Promise.allSettled(results)) expect(result).toMatchObject({ status: "rejected" });
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
    const check = createSchemaCheck(NEVER);
    expect(await check(text)).toContain(problem);
    expect(await check('{"type":"string"}')).toBeUndefined();
  });
});
