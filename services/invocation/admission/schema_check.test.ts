import { describe, expect, it } from "vitest";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { type CheckedValue, compileCheck, type ValueCheck, violationsOf, violationsOfEach } from "./schema_check.js";

const NEVER = new AbortController().signal;
const ENDLESS = `${"a".repeat(60)}b`;

function compile(schema: unknown): ValueCheck {
  const check = compileCheck(JSON.stringify(schema));
  if (check === undefined) throw new Error("there is no schema");
  return check;
}

function checked(check: ValueCheck, value: unknown, name = "arguments"): CheckedValue {
  return { check, value, valueBytes: JSON.stringify(value).length, name };
}

const plain = compile({ type: "object", properties: { n: { type: "number" } } });
const pattern = compile({ type: "string", pattern: "^(a+)+$" });
const LATE = "takes longer than 100 ms to check against its schema";
const tooLong = [{ field: "arguments", description: LATE }];
/** Of a schema by which one has taken too long before. */
const tooLongAgain = [{ field: "arguments", description: LATE.replace("100", "10") }];
/** One of its own, by which nothing was checked before. */
const patternOf = (name: string) => compile({ type: "string", pattern: "^(a+)+$", title: name });

describe("a check by a schema", () => {
  it("names each violation once, with its path and the value", () => {
    expect(violationsOf(checked(plain, { n: "x" }))).toEqual([
      { field: "arguments.n", description: '"x" must be number' },
    ]);
    expect(violationsOf(checked(plain, { n: 1 }))).toEqual([]);
  });

  it("ends where a pattern does not", () => {
    expect(violationsOf(checked(pattern, "aaa", "result"))).toEqual([]);
    expect(violationsOf(checked(pattern, ENDLESS))).toEqual(tooLong);
  });

  it("ends where a pattern does not whose keyword is written with an escape", () => {
    const check = compileCheck('{ "\\u0070attern": "^(a+)+$" }');
    if (check === undefined) throw new Error("there is no schema");
    expect(violationsOf(checked(check, ENDLESS))).toEqual(tooLong);
  });

  it("ends where many parts of a schema find something wrong with each of many items", () => {
    const check = compile({ items: { allOf: Array.from({ length: 1_000 }, () => ({ type: "string" })) } });
    const zeros = Array.from({ length: 20_000 }, () => 0);
    expect(violationsOf(checked(check, zeros))).toEqual(tooLong);
    expect(violationsOf(checked(check, zeros.slice(0, 2)))).toEqual([
      { field: "arguments[0]", description: "0 must be string" },
      { field: "arguments[1]", description: "0 must be string" },
    ]);
  });

  it("of many values that are short pauses for others, too", async () => {
    const check = compile({ items: { allOf: Array.from({ length: 2_000 }, () => ({ type: "string" })) } });
    const values = Array.from({ length: 60 }, () => checked(check, [1, 2, 3]));
    let turns = 0;
    const counting = setInterval(() => {
      turns += 1;
    }, 0);
    const violations = await violationsOfEach(values, NEVER);
    clearInterval(counting);
    expect(violations.map(({ length }) => length)).toEqual(values.map(() => 3));
    expect(turns).toBeGreaterThanOrEqual(1);
  });

  it("of requests that come together, by a schema that is slow, leave others most of the time", async () => {
    const costly = patternOf("together");
    expect(violationsOf(checked(costly, ENDLESS))).toEqual(tooLong);
    const requests = Array.from({ length: 20 }, () => violationsOfEach([checked(costly, ENDLESS)], NEVER));
    let turns = 0;
    const counting = setInterval(() => {
      turns += 1;
    }, 1);
    for (const [violations] of await Promise.all(requests)) expect(violations).toEqual(tooLongAgain);
    clearInterval(counting);
    expect(turns).toBeGreaterThan(20);
  });

  it("of what is beside a value by a slow schema has its own bound", async () => {
    const costly = patternOf("beside");
    expect(violationsOf(checked(costly, ENDLESS))).toEqual(tooLong);
    const other = compile({ items: { allOf: Array.from({ length: 1_000 }, () => ({ type: "string" })) } });
    const long = checked(
      other,
      Array.from({ length: 5_000 }, () => "a"),
    );
    const [slow, beside, again] = await violationsOfEach(
      [checked(costly, ENDLESS), long, checked(costly, "aa")],
      NEVER,
    );
    expect([slow, beside, again]).toEqual([tooLongAgain, [], []]);
  });

  it("that did not compile is compiled again after a while", () => {
    const broken = compile({ $ref: "#/$defs/nothing" });
    expect(broken.retryAt - performance.now()).toBeGreaterThan(0);
    expect(broken.retryAt - performance.now()).toBeLessThanOrEqual(LIMITS.slowSchemaMs);
    expect(plain.retryAt).toBe(Number.POSITIVE_INFINITY);
  });

  it.each([
    ["compares parts that have a `valueOf` of their own", { uniqueItems: true }, [{ valueOf: 1 }, { valueOf: 1 }]],
    ["compares with what has one", { const: { toString: 1 } }, { toString: 1 }],
  ])("that %s answers for this value", (_, schema, value) => {
    const violations = violationsOf(checked(compile(schema), value, "result"));
    for (const { description } of violations) expect(description).toMatch(/cannot be checked|must be equal/);
    expect(violations.length).toBeLessThanOrEqual(1);
  });

  it("that does not compile refuses every value", () => {
    const [violation] = violationsOf(checked(compile({ $ref: "#/$defs/nothing" }), 1, "result"));
    expect(violation).toMatchObject({ field: "result", description: expect.stringContaining("cannot be checked") });
  });

  it("answers where references lead in a circle", () => {
    const [violation] = violationsOf(checked(compile({ $ref: "#" }), 1, "result"));
    expect(violation).toMatchObject({ field: "result", description: expect.stringContaining("cannot be checked") });
  });

  it("compiles what is referred to often once", () => {
    const much = { allOf: Array.from({ length: 100 }, () => ({ type: "string" })) };
    const schema = { $defs: { much }, anyOf: Array.from({ length: 50 }, () => ({ $ref: "#/$defs/much" })) };
    expect(String(compile(schema).validate).length).toBeLessThan(10 * JSON.stringify(schema).length);
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
    expect(violationsOf(checked(check, value))).toEqual(tooLong);
  });

  it("of many answers for each, and others have their turn between those that take long", async () => {
    const costly = patternOf("of many");
    const values = ["aa", ENDLESS, "b", ENDLESS, "a"].map((value) => checked(costly, value));
    let turns = 0;
    const counting = setInterval(() => {
      turns += 1;
    }, 0);
    const [valid, first, wrong, second, last] = await violationsOfEach([...values], NEVER);
    clearInterval(counting);
    expect([valid, first, second, last]).toEqual([[], tooLong, tooLongAgain, []]);
    expect(wrong).toEqual([{ field: "arguments", description: '"b" must match pattern "^(a+)+$"' }]);
    expect(turns).toBeGreaterThanOrEqual(1);
  });

  it("of many gives up after some that take too long, and when nobody waits for the answer any more", async () => {
    const endless = Array.from({ length: 30 }, () => checked(pattern, ENDLESS));
    const found = await violationsOfEach(endless, NEVER);
    expect(found.slice(0, 10)).toEqual(found.slice(0, 10).map(() => tooLongAgain));
    expect(found).toHaveLength(30);
    for (const [violation] of found.slice(-15)) expect(violation?.description).toContain("was not checked");
    const caller = new AbortController();
    const answer = violationsOfEach(endless, caller.signal);
    caller.abort(new Error("the caller has gone"));
    await expect(answer).rejects.toThrow("the caller has gone");
  }, 30_000);
});
