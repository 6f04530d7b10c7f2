import { describe, expect, test } from "vitest";
import { decodeHeaders, encodeHeaders } from "./headers.js";
import { decodeHuffman } from "./huffman.js";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");

describe("a packed text", () => {
  // RFC 7541, appendix C.
  test.each([
    ["www.example.com", "f1e3 c2e5 f23a 6ba0 ab90 f4ff"],
    ["no-cache", "a8eb 1064 9cbf"],
    ["custom-value", "25a8 49e9 5bb8 e8b4 bf"],
    ["private", "aec3 771a 4b"],
    ["Mon, 21 Oct 2013 20:13:21 GMT", "d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff"],
    [
      "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
      "94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
    ],
    ["", ""],
  ])("is read: %s", (text, packed) => {
    expect(decodeHuffman(hex(packed))).toBe(text);
  });

  test.each([
    ["has the end mark within it", "ffff ffff", /end mark/],
    ["ends in more than seven bits of the end mark", "ffff", /ends in a code/],
    ["ends in something else than the end mark", "1c", /ends in a code/],
  ])("is refused where it %s", (_, packed, problem) => {
    expect(() => decodeHuffman(hex(packed))).toThrow(problem);
    expect(() => decodeHuffman(hex(packed))).toThrow(RangeError);
  });
});

describe("a block of headers", () => {
  test("is read as it was written", () => {
    const headers = { ":path": "/a.B/C", authorization: `Bearer ${"t".repeat(20_000)}`, empty: "", te: "trailers" };
    expect(decodeHeaders(encodeHeaders(headers))).toEqual(headers);
  });

  test("is read in every form that a field can have without a shared table", () => {
    const block = hex(
      [
        "20", // the table has no room
        "88", // :status 200
        "48 03 343034", // :status 404, to be kept
        "0d 03 353030", // :status 500
        "0f10 04 67727063", // content-type, which is not read
        "40 01 61 01 31", // to be kept
        "00 01 62 01 32",
        "10 01 63 01 33", // never to be kept
        "a0", // of the table that all know, and not read
      ].join(""),
    );
    expect(decodeHeaders(block)).toEqual({ ":status": "500", a: "1", b: "2", c: "3" });
  });

  test.each([
    ["names a field of a shared table", "be", /field 62/],
    ["names no field", "80", /field 0/],
    ["has a name of a shared table", "7f00 01 61", /name 63/],
    ["makes a shared table", "3fe11f", /table of headers/],
    ["is cut in a text", "00 01 61 05 31", /cut/],
    ["is cut in a number", "00 7f", /cut/],
    ["is cut after a name", "00 01 61", /cut/],
    ["has a number that is too large", "00 7f ffffffffff 01", /too large/],
  ])("is refused where it %s", (_, block, problem) => {
    expect(() => decodeHeaders(hex(block))).toThrow(problem);
    expect(() => decodeHeaders(hex(block))).toThrow(RangeError);
  });
});
