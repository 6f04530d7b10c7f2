import { expect, test } from "vitest";
import { LIMITS } from "../protocol/limits.js";
import { cutText, errorText, stackText } from "./error_text.js";

class PriceError extends Error {}

test("names the class and the message", () => {
  expect(errorText(new TypeError("no"))).toBe("TypeError: no");
  expect(errorText(new PriceError("too high"))).toBe("PriceError: too high");
  expect(errorText(Object.assign(new Error("x"), { name: "Named" }))).toBe("Named: x");
  expect(errorText(new Error(""))).toBe("Error");
});

test("takes whatever is thrown", () => {
  expect(errorText("text")).toBe("Error: 'text'");
  expect(errorText(undefined)).toBe("Error: undefined");
  expect(errorText({ a: 1 })).toBe("Error: { a: 1 }");
  const hostile = new Error("x");
  Object.defineProperty(hostile, "message", {
    get() {
      throw new Error("hostile");
    },
  });
  expect(errorText(hostile)).toMatch(/^Error: /);
  expect(stackText(hostile)).toBeTypeOf("string");
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  expect(errorText(revoked.proxy)).toMatch(/^Error: /);
});

test("cuts at the limit and says so", () => {
  const text = errorText(new Error("m".repeat(20_000)));
  expect(text.length).toBeLessThanOrEqual(LIMITS.errorLength);
  const [, kept, cut] = /^(Error: m+)… \[cut: (\d+) characters\]$/.exec(text) ?? [];
  expect((kept?.length ?? 0) + Number(cut)).toBe("Error: ".length + 20_000);
});

test("does not cut a character in two", () => {
  expect(cutText("😀".repeat(30), 40).isWellFormed()).toBe(true);
});
