import { describe, expect, it } from "vitest";
import { IdSource } from "../platform/ids.js";
import { ExecutionTokens } from "./execution_token.js";

const ids = new IdSource({ now: () => Date.now() });
const tokens = new ExecutionTokens(new Uint8Array(32).fill(1));
const named = { invocationId: ids.next("inv"), executionId: ids.next("exe") };
const token = tokens.issue(named.invocationId, named.executionId);

describe("the token of an execution", () => {
  it("names it", () => {
    expect(tokens.verify(token)).toEqual(named);
    expect(token).toMatch(/^mnx_[\x21-\x7e]{1,195}$/);
  });

  it("is the same however often it is issued, so that nothing of it need be stored", () => {
    expect(tokens.issue(named.invocationId, named.executionId)).toBe(token);
  });

  it("is known to those with the same secret only", () => {
    expect(new ExecutionTokens(new Uint8Array(32).fill(2)).verify(token)).toBeUndefined();
    expect(new ExecutionTokens(new Uint8Array(32).fill(1)).verify(token)).toEqual(named);
  });

  it("cannot be turned into one of another execution", () => {
    const other = tokens.issue(named.invocationId, ids.next("exe"));
    const signature = token.slice(-43);
    expect(tokens.verify(other.slice(0, -43) + signature)).toBeUndefined();
    const at = (index: number) => token.slice(0, index) + (token[index] === "0" ? "1" : "0") + token.slice(index + 1);
    for (let index = 4; index < token.length; index++) expect(tokens.verify(at(index)), String(index)).toBeUndefined();
  });

  it("is refused in any other form", () => {
    for (const text of [
      "",
      "mnx_",
      token.slice(1),
      `${token}x`,
      ` ${token}`,
      `${token}\n`,
      token.toUpperCase(),
      "x".repeat(9_999),
    ]) {
      expect(tokens.verify(text), text).toBeUndefined();
    }
  });
});
