import { expect, test } from "vitest";
import { jsonValue, valueLine } from "./value.js";

test("values beyond JSON have a form in JSON", () => {
  const value = {
    big: 12345678901234567890n,
    when: new Date(0),
    map: new Map([["a", 1n]]),
    set: new Set([1]),
    bytes: new Uint8Array([1, 2]),
    floats: new Float32Array([1, 0.5]),
    nothing: undefined,
    nan: Number.NaN,
    error: new TypeError("no"),
    list: [1, "two", null, true],
  };
  expect(JSON.parse(JSON.stringify(jsonValue(value)))).toEqual({
    big: "12345678901234567890",
    when: "1970-01-01T00:00:00.000Z",
    map: [["a", "1"]],
    set: [1],
    bytes: "AQI=",
    floats: [1, 0.5],
    nothing: null,
    nan: "NaN",
    error: { name: "TypeError", message: "no" },
    list: [1, "two", null, true],
  });
});

test("a value in one line", () => {
  expect(valueLine({ a: [1, 2], b: "x" })).toBe("{ a: [ 1, 2 ], b: 'x' }");
});
