import { describe, expect, it } from "vitest";
import { compileCheck, type ValueCheck, violationsOf, violationsOfEach } from "./schema_check.js";

const ENDLESS = `${"a".repeat(60)}b`;

function compile(schema: unknown): ValueCheck {
  const check = compileCheck(JSON.stringify(schema));
  if (check === undefined) throw new Error("there is no schema");
  return check;
}

const plain = compile({ type: "object", properties: { n: { type: "number" } } });
const pattern = compile({ type: "string", pattern: "^(a+)+$" });
const tooLong = [{ field: "arguments", description: "takes longer than 100 ms to check against its schema" }];

describe("a check by a schema", () => {
  it("names each violation once, with its path and the value", () => {
    expect(violationsOf({ check: plain, value: { n: "x" }, name: "arguments" })).toEqual([
      { field: "arguments.n", description: '"x" must be number' },
    ]);
    expect(violationsOf({ check: plain, value: { n: 1 }, name: "arguments" })).toEqual([]);
    expect(compileCheck("")).toBeUndefined();
  });

  it("ends where a pattern does not", () => {
    expect(violationsOf({ check: pattern, value: "aaa", name: "result" })).toEqual([]);
    expect(violationsOf({ check: pattern, value: ENDLESS, name: "arguments" })).toEqual(tooLong);
  });

  it("ends where references that branch do not", () => {
    const node = {
      anyOf: [
        { type: "array", items: { $ref: "#" } },
        { items: { $ref: "#" }, maxItems: 0 },
      ],
    };
    const check = compile(node);
    let value: unknown = 1;
    for (let depth = 0; depth < 60; depth++) value = [value];
    expect(violationsOf({ check, value, name: "arguments" })).toEqual(tooLong);
  });

  it("of many answers for each, and others have their turn between those that take long", async () => {
    const values = ["aa", ENDLESS, "b", ENDLESS, "a"].map((value) => ({ check: pattern, value, name: "arguments" }));
    let turns = 0;
    const counting = setInterval(() => {
      turns += 1;
    }, 0);
    const [valid, first, wrong, second, last] = await violationsOfEach([...values]);
    clearInterval(counting);
    expect([valid, first, second, last]).toEqual([[], tooLong, tooLong, []]);
    expect(wrong).toEqual([{ field: "arguments", description: '"b" must match pattern "^(a+)+$"' }]);
    expect(turns).toBeGreaterThanOrEqual(1);
  });
});
