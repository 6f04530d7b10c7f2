import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { FunctionInputIsInvalid, FunctionOutputIsInvalid, ParameterValidationError } from "../errors.js";
import { argumentsSchema, resultSchema } from "./schema.js";

function accepts(jsonSchema: string, value: unknown): boolean {
  return new Ajv2020({ strict: false, logger: false }).validate(JSON.parse(jsonSchema), value);
}

describe("input", () => {
  test("one schema describes the only argument", async () => {
    const schema = argumentsSchema(z.object({ url: z.url(), width: z.number().int().default(100) }));
    expect(accepts(schema.jsonSchema, [{ url: "http://a.example" }])).toBe(true);
    expect(accepts(schema.jsonSchema, [{ url: "http://a.example", width: "x" }])).toBe(false);
    expect(accepts(schema.jsonSchema, [])).toBe(false);
    expect(accepts(schema.jsonSchema, [{ url: "http://a.example" }, 2])).toBe(false);
    await expect(schema.parse([{ url: "http://a.example" }])).resolves.toStrictEqual([
      { url: "http://a.example", width: 100 },
    ]);
    const refused = schema.parse([{ url: 5 }]);
    await expect(refused).rejects.toThrow(FunctionInputIsInvalid);
    await expect(refused).rejects.toMatchObject({ violations: [{ field: "arguments[0].url" }] });
  });

  test.each<[z.ZodType, unknown[]]>([
    [z.tuple([z.string()]).rest(z.number().optional()), ["a", undefined, 3]],
    [z.tuple([z.string().optional(), z.number()]).readonly(), [undefined, 1]],
  ])("an argument that may be nothing is not refused, wherever the list stands", async (input, args) => {
    const schema = argumentsSchema(input);
    expect(accepts(schema.jsonSchema, args)).toBe(true);
    await expect(schema.parse(args)).resolves.toStrictEqual(args);
  });

  test("a tuple describes the whole list", async () => {
    const schema = argumentsSchema(z.tuple([z.string(), z.number().optional()]));
    expect(accepts(schema.jsonSchema, ["a", 1])).toBe(true);
    expect(accepts(schema.jsonSchema, ["a"])).toBe(true);
    expect(accepts(schema.jsonSchema, [])).toBe(false);
    expect(accepts(schema.jsonSchema, ["a", 1, 2])).toBe(false);
    await expect(schema.parse(["a", 1])).resolves.toStrictEqual(["a", 1]);
    await expect(schema.parse([1])).rejects.toMatchObject({ violations: [{ field: "arguments[0]" }] });
    const rest = argumentsSchema(z.tuple([z.string()], z.number()));
    expect(accepts(rest.jsonSchema, ["a", 1, 2])).toBe(true);
    expect(accepts(rest.jsonSchema, ["a", "b"])).toBe(false);
  });

  test.each<[string, z.ZodType, (readonly unknown[])[], (readonly unknown[])[]]>([
    [
      "a union of tuples",
      z.union([z.tuple([z.string()]), z.tuple([z.number(), z.number().optional()])]),
      [["a"], [1, 2], [1]],
      [[], ["a", "b"], [1, "b"], [["a"]]],
    ],
    [
      "a tuple with a name",
      z.tuple([z.number(), z.number()]).meta({ id: "Pair" }),
      [[1, 2]],
      [[1], [1, "2"], [[1, 2]]],
    ],
    ["an empty tuple", z.tuple([]), [[]], [[1]]],
    ["an empty tuple with a rest, which is one list", z.tuple([]).rest(z.number()), [[[1, 2]], [[]]], [[1, 2], []]],
    [
      "a tuple with an optional item before its rest",
      z.tuple([z.string(), z.string().optional()]).rest(z.number()),
      [["a"], ["a", undefined, 1], ["a", "b", 1, 2]],
      [[], ["a", 1], ["a", undefined, "c"]],
    ],
  ])("%s", async (_, input, right, wrong) => {
    const schema = argumentsSchema(input);
    for (const args of right) {
      expect(accepts(schema.jsonSchema, [...args]), JSON.stringify(args)).toBe(true);
      await expect(schema.parse(args)).resolves.toStrictEqual([...args]);
    }
    for (const args of wrong) expect(accepts(schema.jsonSchema, [...args]), JSON.stringify(args)).toBe(false);
  });

  const recursive: z.ZodType = z.object({ name: z.string(), children: z.lazy(() => z.array(recursive)) });
  test.each<[string, z.ZodType, unknown, unknown]>([
    ["a named object or null", z.object({ n: z.int() }).meta({ id: "User" }).nullable(), { n: 1 }, { n: "1" }],
    [
      "a union of named objects",
      z.union([z.object({ a: z.int() }).meta({ id: "A" }), z.object({ b: z.int() })]),
      { a: 1 },
      1,
    ],
    ["a text or what refers to itself", z.union([z.string(), recursive]), { name: "a", children: [] }, { name: 1 }],
    ["what refers to itself or null", recursive.nullable(), null, 1],
    ["a tuple or an array", z.union([z.tuple([z.string()]), z.array(z.number())]), [1, 2], ["a", "b"]],
  ])("%s is one argument", async (_, input, right, wrong) => {
    const schema = argumentsSchema(input);
    expect(accepts(schema.jsonSchema, [right])).toBe(true);
    await expect(schema.parse([right])).resolves.toStrictEqual([right]);
    expect(accepts(schema.jsonSchema, [wrong])).toBe(false);
  });

  test("a union of named tuples is the list of arguments", () => {
    const pair = z.tuple([z.string(), z.number()]).meta({ id: "NamedPair" });
    const { jsonSchema } = argumentsSchema(z.union([pair, z.tuple([z.boolean()])]));
    for (const args of [["a", 1], [true]]) expect(accepts(jsonSchema, args)).toBe(true);
    for (const args of [["a"], [1], [["a", 1]]]) expect(accepts(jsonSchema, args)).toBe(false);
  });

  test.each<[string, z.ZodType]>([
    ["z.void()", z.void()],
    ["z.union with undefined", z.union([z.string(), z.undefined()])],
    ["z.any()", z.any()],
  ])("%s may be left out", (_, input) => {
    expect(accepts(argumentsSchema(input).jsonSchema, [])).toBe(true);
  });

  test("how many items a tuple of valibot needs is checked in the worker", () => {
    const json = { type: "array", prefixItems: [{ type: "string" }, { type: "number" }], minItems: 2, items: false };
    const standard = { version: 1, validate: (value: unknown) => ({ value }), jsonSchema: { input: () => json } };
    const of = (vendor: string) => argumentsSchema({ "~standard": { ...standard, vendor } } as never).jsonSchema;
    expect(accepts(of("example"), ["a"])).toBe(false);
    const jsonSchema = of("valibot");
    expect(accepts(jsonSchema, ["a"])).toBe(true);
    expect(accepts(jsonSchema, [1])).toBe(false);
    expect(accepts(jsonSchema, ["a", 1, 2])).toBe(false);
  });

  test("an optional argument before others is left out as undefined, and is no less checked", () => {
    const { jsonSchema } = argumentsSchema(z.tuple([z.string(), z.number().optional(), z.string().optional()]));
    expect(accepts(jsonSchema, ["a", undefined, "b"])).toBe(true);
    expect(accepts(jsonSchema, ["a", 1, "b"])).toBe(true);
    for (const wrong of [null, "1", true, [], {}]) expect(accepts(jsonSchema, ["a", wrong, "b"])).toBe(false);
    expect(accepts(jsonSchema, [undefined, 1, "b"])).toBe(false);
  });

  test("an array is the only argument", async () => {
    const schema = argumentsSchema(z.array(z.string()));
    expect(accepts(schema.jsonSchema, [["a", "b"]])).toBe(true);
    await expect(schema.parse([["a"]])).resolves.toStrictEqual([["a"]]);
  });

  test("an optional argument may be left out", async () => {
    const schema = argumentsSchema(z.string().default("x"));
    expect(accepts(schema.jsonSchema, [])).toBe(true);
    await expect(schema.parse([])).resolves.toStrictEqual(["x"]);
  });

  test("references still count from the schema's own root", () => {
    const node: z.ZodType = z.object({ name: z.string(), children: z.lazy(() => z.array(node)) });
    const schema = argumentsSchema(node);
    expect(accepts(schema.jsonSchema, [{ name: "a", children: [{ name: "b", children: [] }] }])).toBe(true);
    expect(accepts(schema.jsonSchema, [{ name: "a", children: [{ name: 1, children: [] }] }])).toBe(false);
  });

  test("transforms apply in the worker", async () => {
    const schema = argumentsSchema(z.string().transform((text) => text.length));
    expect(accepts(schema.jsonSchema, ["abc"])).toBe(true);
    await expect(schema.parse(["abc"])).resolves.toStrictEqual([3]);
  });

  test("what is coerced may be of any type, within its bounds", async () => {
    const schema = argumentsSchema(
      z.object({
        n: z.coerce.number().int().min(1),
        s: z.coerce.string().min(2).optional(),
        at: z.coerce.date().optional(),
      }),
    );
    expect(accepts(schema.jsonSchema, [{ n: "5", s: 12, at: "2026-01-02" }])).toBe(true);
    expect(accepts(schema.jsonSchema, [{ n: 5, s: "12" }])).toBe(true);
    expect(accepts(schema.jsonSchema, [{ n: 0 }])).toBe(false);
    expect(accepts(schema.jsonSchema, [{ n: 5, s: "1" }])).toBe(false);
    expect(accepts(schema.jsonSchema, [{}])).toBe(false);
    await expect(schema.parse([{ n: "5", s: 12, at: "2026-01-02" }])).resolves.toStrictEqual([
      { n: 5, s: "12", at: new Date("2026-01-02") },
    ]);
    await expect(schema.parse([{ n: "five" }])).rejects.toMatchObject({ violations: [{ field: "arguments[0].n" }] });
  });

  test.each<[string, z.ZodType, unknown[], unknown[]]>([
    ["a pattern with flags", z.string().regex(/^abc$/i), ["ABC"], [1]],
    ["several, one with flags", z.string().regex(/^a/).regex(/C$/i).min(2), ["abc"], ["c"]],
    ["what is trimmed", z.string().trim().max(3), [" abc "], [1]],
    ["a format of what is trimmed", z.string().trim().email(), [" a@b.co "], [null]],
    [
      "what is in lower case first",
      z
        .string()
        .toLowerCase()
        .regex(/^[a-z]+$/),
      ["ABC"],
      [1],
    ],
    ["what is made of anything", z.preprocess(Number, z.number()), ["5", null], []],
    ["what has something else for what is wrong", z.number().catch(7), ["x"], []],
    [
      "the same in an object",
      z.object({ n: z.number().catch(7), s: z.string() }),
      [{ s: "" }, { n: "x", s: "" }],
      [{}],
    ],
    [
      "a name that may stand for nothing",
      z.object({ a: z.unknown(), b: z.any().nullable(), n: z.number() }),
      [{ a: undefined, b: undefined, n: 1 }],
      [{}],
    ],
    [
      "the same of what is coerced",
      z.looseObject({ s: z.coerce.string(), b: z.coerce.boolean() }),
      [{ s: undefined, b: undefined }],
      [1],
    ],
    ["the same of a union", z.object({ a: z.union([z.number(), z.any()]) }), [{ a: undefined }], [1]],
    ["an item that may be nothing", z.array(z.number().optional()), [[1, undefined]], [[1, "2"], [null]]],
    [
      "the same of a tuple",
      z.object({ pair: z.tuple([z.string(), z.number().optional()]) }),
      [{ pair: ["a", undefined] }, { pair: ["a"] }],
      [{ pair: ["a", "b"] }, { pair: [undefined, 1] }],
    ],
    [
      "the same of a record",
      z.record(z.enum(["a", "b"]), z.number().optional()),
      [{ a: 1 }, { a: 1, b: undefined }],
      [{ a: "1" }],
    ],
    [
      "the same of other names",
      z.object({ n: z.number() }).catchall(z.string().optional()),
      [{ n: 1, other: undefined }],
      [{ n: 1, other: 2 }],
    ],
    ["a pattern of sets", z.string().regex(new RegExp("^[\\p{L}--[a-z]]$", "v")), ["A"], [1]],
  ])("what the schema takes is not refused: %s", async (_, input, taken, refused) => {
    const schema = argumentsSchema(input);
    for (const value of taken) {
      expect(accepts(schema.jsonSchema, [value])).toBe(true);
      await expect(schema.parse([value])).resolves.toHaveLength(1);
    }
    for (const value of refused) expect(accepts(schema.jsonSchema, [value])).toBe(false);
  });

  test("no schema accepts anything", async () => {
    const schema = argumentsSchema(undefined);
    expect(schema.jsonSchema).toBe("");
    await expect(schema.parse([1, "a"])).resolves.toStrictEqual([1, "a"]);
  });

  test("what JSON Schema has no word for is checked in the worker, and the rest before", async () => {
    const schema = argumentsSchema(
      z.object({ at: z.date(), large: z.bigint(), of: z.map(z.string(), z.int()), n: z.int() }),
    );
    const given = { at: new Date(0), large: 2n ** 64n, of: new Map([["a", 1]]), n: 1 };
    expect(accepts(schema.jsonSchema, [given])).toBe(true);
    await expect(schema.parse([given])).resolves.toStrictEqual([given]);
    expect(accepts(schema.jsonSchema, [{ ...given, n: "1" }])).toBe(false);
    expect(accepts(schema.jsonSchema, [{ at: given.at, large: given.large, n: 1 }])).toBe(false);
    await expect(schema.parse([{ ...given, at: "today" }])).rejects.toMatchObject({
      violations: [{ field: "arguments[0].at" }],
    });
  });

  test("a schema that is none, or has no JSON Schema form, is refused where it is written", () => {
    expect(() => argumentsSchema({} as never)).toThrow(/is no schema/);
    const fail = () => {
      throw new Error("no word for it");
    };
    const validate = (value: unknown) => ({ value });
    const schema = { "~standard": { version: 1, vendor: "example", validate, jsonSchema: { input: fail } } };
    expect(() => argumentsSchema(schema as never)).toThrow(ParameterValidationError);
    expect(() => argumentsSchema(schema as never)).toThrow(
      /input: the schema has no JSON Schema form \(no word for it\)/,
    );
  });

  test.each([
    ["zod", /use zod 4\.2 or later/],
    ["valibot", /wrap it in toStandardJsonSchema of the package @valibot\/to-json-schema/],
    ["example", /cannot tell its JSON Schema; its vendor is "example"/],
  ])("a schema of %s that cannot tell its JSON Schema is refused with what to do", (vendor, message) => {
    const schema = { "~standard": { version: 1, vendor, validate: (value: unknown) => ({ value }) } } as const;
    expect(() => argumentsSchema(schema)).toThrow(message);
  });

  test("another Standard Schema", async () => {
    const schema = argumentsSchema({
      "~standard": {
        version: 1,
        vendor: "example",
        validate: (value: unknown) =>
          typeof value === "number" ? { value } : { issues: [{ message: "no number", path: ["a", { key: 1 }] }] },
        jsonSchema: { input: () => ({ type: "number" }) },
      },
    } as never);
    expect(accepts(schema.jsonSchema, [1])).toBe(true);
    await expect(schema.parse(["x"])).rejects.toMatchObject({
      violations: [{ field: "arguments[0].a[1]", description: "no number" }],
    });
  });
});

describe("output", () => {
  test("what the schema takes is not refused", () => {
    const { jsonSchema } = resultSchema(z.object({ code: z.string().regex(/^abc$/i), name: z.string().min(5).trim() }));
    expect(accepts(jsonSchema, { code: "ABC", name: "abc" })).toBe(true);
    expect(accepts(jsonSchema, { code: 1, name: "abc" })).toBe(false);
  });

  test("is parsed and refused by name", async () => {
    const schema = resultSchema(z.object({ n: z.number() }));
    expect(accepts(schema.jsonSchema, { n: 1 })).toBe(true);
    await expect(schema.parse({ n: 1 })).resolves.toStrictEqual({ n: 1 });
    await expect(schema.parse({ n: "1" })).rejects.toThrow(FunctionOutputIsInvalid);
    await expect(schema.parse({ n: "1" })).rejects.toMatchObject({ violations: [{ field: "result.n" }] });
  });

  test("what is coerced has the type that comes out", () => {
    const schema = resultSchema(z.coerce.number());
    expect(accepts(schema.jsonSchema, 5)).toBe(true);
    expect(accepts(schema.jsonSchema, "5")).toBe(false);
  });

  test("transforms apply in the worker", async () => {
    const schema = resultSchema(z.object({ n: z.string().transform((text) => text.length) }));
    expect(accepts(schema.jsonSchema, { n: 3 })).toBe(true);
    expect(accepts(schema.jsonSchema, 3)).toBe(false);
    await expect(schema.parse({ n: "abc" })).resolves.toStrictEqual({ n: 3 });
  });
});
