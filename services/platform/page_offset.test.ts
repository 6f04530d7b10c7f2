import { describe, expect, it } from "vitest";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { PageOffsets, pageSizeOf } from "./page_offset.js";

const offsets = new PageOffsets(new Uint8Array(32).fill(1));
const LISTING = ["invocations", "project", "", ["PENDING"], null];
const invalid = expect.objectContaining({ reason: "OffsetIsInvalid" });

describe("offsets", () => {
  it.each(["inv-01", "", "ü#7/+=", "a.b", "x".repeat(500)])("bring back the position %j", (position) => {
    expect(offsets.decode(LISTING, offsets.encode(LISTING, position))).toBe(position);
  });

  it("say nothing for the first page", () => {
    expect(offsets.decode(LISTING, "")).toBeUndefined();
  });

  it("are those of one listing and of one server", () => {
    const offset = offsets.encode(LISTING, "inv-01");
    const other = new PageOffsets(new Uint8Array(32).fill(2));
    expect(() => offsets.decode(["invocations", "project", "f", ["PENDING"], null], offset)).toThrow(invalid);
    expect(() => offsets.decode([...LISTING, "inv-01"], offset)).toThrow(invalid);
    expect(() => other.decode(LISTING, offset)).toThrow(invalid);
  });

  it("are refused where they were changed or made up", () => {
    const offset = offsets.encode(LISTING, "inv-01");
    const [signature = "", position = ""] = offset.split(".");
    const changed = [
      `${signature}.${Buffer.from("inv-02").toString("base64url")}`,
      `${signature.slice(1)}.${position}`,
      `${signature}x.${position}`,
      `.${position}`,
      `${offset}.x`,
      signature,
      "nonsense",
      ".",
      "ü.ü",
      "\0",
    ];
    for (const text of changed) expect(() => offsets.decode(LISTING, text), text).toThrow(invalid);
  });
});

describe("page sizes", () => {
  it("are the default for 0, and bounded", () => {
    expect(pageSizeOf(0)).toBe(LIMITS.pageSize);
    expect(pageSizeOf(0, 7)).toBe(7);
    expect(pageSizeOf(1)).toBe(1);
    expect(pageSizeOf(LIMITS.maxPageSize + 1)).toBe(LIMITS.maxPageSize);
  });

  it("are refused below 0", () => {
    expect(() => pageSizeOf(-1)).toThrow(expect.objectContaining({ reason: "ParameterValidationError" }));
  });
});
