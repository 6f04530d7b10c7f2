import { expect, test } from "vitest";
import { count, formatBytes, formatDuration, harmless, shorten } from "./format.js";

test.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1536, "1.5 KiB"],
  [256 * 1024 ** 2, "256 MiB"],
  [64 * 1024 ** 3, "64 GiB"],
  [5000 * 1024 ** 3, "5000 GiB"],
])("%d bytes", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test.each([
  [-5, "0ms"],
  [12.4, "12ms"],
  [1_234, "1.23s"],
  [59_999, "60s"],
  [90_000, "1m 30s"],
  [3_600_000, "1h"],
  [3_661_000, "1h 1m"],
  [90_000_000, "1d 1h"],
])("%d ms", (durationMs, text) => expect(formatDuration(durationMs)).toBe(text));

test("what would control a terminal is written out, line breaks and tabs are not", () => {
  expect(harmless("\u001b[31mred\u001b[0m\n\tline\r\u009b2J\u0007")).toBe(
    "\\x1B[31mred\\x1B[0m\n\tline\\x0D\\x9B2J\\x07",
  );
  expect(shorten("a\r\n\u001b]0;title", 20)).toBe("a \\x1B]0;title");
});

test("count and shorten", () => {
  expect(count(1, "function")).toBe("1 function");
  expect(count(1_200, "function")).toBe("1,200 functions");
  expect(shorten("a\n b   c", 20)).toBe("a b c");
  expect(shorten("abcdef", 4)).toBe("abc…");
  expect(shorten("進捗率は半分", 12)).toBe("進捗率は半分");
  expect(shorten("進捗率は半分です", 8)).toBe("進捗率…");
  expect(shorten("👩‍👩‍👧‍👦👩‍👩‍👧‍👦", 3)).toBe("👩‍👩‍👧‍👦…");
  expect(shorten("x".repeat(1_000_000), 3)).toBe("xx…");
});
