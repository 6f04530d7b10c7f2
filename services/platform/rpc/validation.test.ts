import { describe, expect, it } from "vitest";
import { z } from "zod";
import { Refusal } from "../errors.js";
import {
  functionNameField,
  idField,
  mapKey,
  parse,
  projectNameField,
  SECRET_VALUE,
  text,
  versionIdField,
} from "./validation.js";

function violations(schema: z.ZodType<unknown>, message: unknown): string[] {
  try {
    parse(schema, message);
  } catch (error) {
    if (!(error instanceof Refusal) || error.reason !== "ParameterValidationError") throw error;
    return (error.details.violations ?? []).map(({ field, description }) => `${field}: ${description}`);
  }
  return [];
}

describe("parse", () => {
  const schema = z.object({
    functions: z
      .array(z.object({ maxRetries: z.int().min(0).max(50).optional(), cpu: z.number().gt(0).max(16) }))
      .max(3),
  });

  it("answers the checked message", () => {
    expect(parse(schema, { functions: [{ cpu: 1, other: 1 }] })).toEqual({ functions: [{ cpu: 1 }] });
  });

  it("names every bad field with its value and bound", () => {
    const functions = [
      { cpu: 17, maxRetries: 51 },
      { cpu: 0, maxRetries: 1.5 },
      { cpu: NaN, maxRetries: -1 },
    ];
    expect(violations(schema, { functions })).toEqual([
      "functions[0].max_retries: 51 is above 50",
      "functions[0].cpu: 17 is above 16",
      "functions[1].max_retries: 1.5 is not a whole number",
      "functions[1].cpu: 0 is not above 0",
      "functions[2].max_retries: -1 is below 0",
      "functions[2].cpu: NaN is not a finite number",
    ]);
    expect(violations(schema, { functions: [{ cpu: Infinity }] })).toEqual([
      "functions[0].cpu: Infinity is not a finite number",
    ]);
    expect(violations(schema, {})).toEqual(["functions: is required"]);
    expect(violations(schema, { functions: [1, 1, 1, 1].map((cpu) => ({ cpu })) })).toEqual([
      "functions: a list of 4 has more than 3 items",
    ]);
  });

  it("leaves the name of a oneof out of the path", () => {
    const code = z.object({
      source: z.discriminatedUnion("$case", [
        z.object({ $case: z.literal("imageCode"), value: z.object({ image: text(1, 3) }) }),
      ]),
    });
    const message = { code: { source: { $case: "imageCode", value: { image: "abcd" } } } };
    expect(violations(z.object({ code }), message)).toEqual([
      'code.image_code.image: "abcd" has more than 3 characters',
    ]);
    expect(violations(z.object({ code }), { code: { source: undefined } })).toEqual(["code.source: is required"]);
  });

  it("keeps map keys as they are, and secrets to itself", () => {
    const environment = z.record(z.string(), z.string()).superRefine((_, context) => {
      context.addIssue({
        code: "custom",
        path: [mapKey("aB")],
        message: "holds a NUL character",
        params: SECRET_VALUE,
      });
    });
    expect(violations(z.object({ environment }), { environment: { aB: "hush" } })).toEqual([
      'environment["aB"]: holds a NUL character',
    ]);
  });
});

describe("fields", () => {
  it.each([
    [text(1, 5), "", '"" has fewer than 1 characters'],
    [text(0, 500), "a\0b", '"a\\u0000b" holds a NUL character'],
    [text(0, 500), "a\ud800", '"a\\ud800" holds half of a surrogate pair'],
    [text(0, 150), "a".repeat(151), `"${"a".repeat(100)}"… (151 characters) has more than 150 characters`],
    [projectNameField, "1a", '"1a" is not 1 to 64 letters, digits, "-" and "_", beginning with a letter'],
    [functionNameField, "a".repeat(129), `"${"a".repeat(100)}"… (129 characters) is not 1 to 128 letters`],
    [idField("key"), "ver-1", '"ver-1" is not an identifier: "key-" and 26 characters'],
    [versionIdField, "newest", '"newest" is neither "latest" nor "ver-" and 26 characters'],
  ])("refuses bad text %#", (schema, value, description) => {
    expect(violations(z.object({ field: schema }), { field: value })).toEqual([
      expect.stringContaining(`field: ${description}`),
    ]);
  });

  it("accepts good text", () => {
    expect(violations(text(0, 2), "😀")).toEqual([]);
    for (const id of ["", "LATEST", `ver-${"0".repeat(26)}`]) expect(violations(versionIdField, id)).toEqual([]);
  });
});
