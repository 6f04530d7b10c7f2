import { describe, expect, it } from "vitest";
import { arrayText, forManyRows, inParts, numbered } from "./postgres_statements.js";

describe("placeholders", () => {
  it.each([
    ["SELECT ?, x FROM t WHERE a = ? AND b IN (?,?)", "SELECT $1, x FROM t WHERE a = $2 AND b IN ($3,$4)"],
    ["SELECT '?', 'it''s ?', \"a?\" FROM t WHERE a = ?", "SELECT '?', 'it''s ?', \"a?\" FROM t WHERE a = $1"],
    ["SELECT 1", "SELECT 1"],
  ])("are numbered outside of quotes: %s", (sql, text) => {
    expect(numbered(sql)).toBe(text);
  });
});

describe("a statement for many rows", () => {
  const given = "unnest($1::text[], $2::bigint[]) AS given (p1, p2)";

  it.each([
    ["INSERT INTO t (a, b, c) VALUES (?, 0, ?)", `INSERT INTO t (a, b, c) SELECT given.p1, 0, given.p2 FROM ${given}`],
    [
      "INSERT INTO t (a, b)\n  VALUES (?, coalesce(?, 1)) ON CONFLICT (a) DO NOTHING",
      `INSERT INTO t (a, b)\n  SELECT given.p1, coalesce(given.p2, 1) FROM ${given} ON CONFLICT (a) DO NOTHING`,
    ],
    [
      "UPDATE t SET a = ?, b = b + 1\n  WHERE id = ?",
      `UPDATE t SET a = given.p1, b = b + 1\n  FROM ${given} WHERE id = given.p2`,
    ],
    ["DELETE FROM t WHERE a = ? AND b = ?", `DELETE FROM t USING ${given} WHERE a = given.p1 AND b = given.p2`],
  ])("takes arrays: %s", (sql, text) => {
    expect(forManyRows(sql, ["text", "bigint"])?.replaceAll(/\s+/g, " ")).toBe(text.replaceAll(/\s+/g, " "));
  });

  it.each([
    "DELETE FROM t",
    "SELECT a FROM t WHERE a = ? AND b = ?",
    "UPDATE t SET a = (SELECT b FROM u WHERE c = ?) WHERE d = ?",
  ])("has no other form where that is not plain: %s", (sql) => {
    expect(forManyRows(sql, ["text", "bigint"])).toBeUndefined();
  });

  it("without parameters is run as it is", () => {
    expect(forManyRows("DELETE FROM t WHERE a = 1", [])).toBeUndefined();
  });
});

describe("arrays", () => {
  it("hold texts, numbers, bytes and nothing", () => {
    const rows = [
      ["plain", 1, Uint8Array.from([1, 255])],
      ['"quoted\\"', -2.5, null],
      ["NULL", 9007199254740991, new Uint8Array()],
      [null, null, Uint8Array.from([9, 8, 7]).subarray(1, 2)],
    ];
    expect(arrayText(rows, 0)).toBe('{"plain","\\"quoted\\\\\\"","NULL",NULL}');
    expect(arrayText(rows, 1)).toBe("{1,-2.5,9007199254740991,NULL}");
    expect(arrayText(rows, 2)).toBe('{"\\\\x01ff",NULL,"\\\\x","\\\\x08"}');
  });

  it("are cut by rows and by bytes", () => {
    const sizes = (rows: Parameters<typeof inParts>[0]) => [...inParts(rows)].map((part) => part.length);
    expect(sizes([])).toEqual([]);
    expect(sizes(Array.from({ length: 2_001 }, () => [1]))).toEqual([1_000, 1_000, 1]);
    expect(sizes(Array.from({ length: 5 }, () => [new Uint8Array(200_000)]))).toEqual([2, 2, 1]);
    expect(sizes([["x".repeat(3_000_000)], ["y"]])).toEqual([1, 1]);
  });
});
