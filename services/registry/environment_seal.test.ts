import { describe, expect, it } from "vitest";
import { Code } from "../../gen/multinode/registry/v1/function.pb.js";
import { EnvironmentSeal } from "./environment_seal.js";
import { bundleCode } from "./test_registry.js";

const SECRET = Buffer.alloc(32, 1);
const seal = new EnvironmentSeal(SECRET);
const code = bundleCode({ TOKEN: "s3cret", EMPTY: "", TEXT: "schön 😀", LIKE_SEALED: "sealed:AAAA" });

describe("values of environment variables", () => {
  it("are what they were once they are opened, by another process too", () => {
    const closed = seal.close("ver-1", code);
    expect(new EnvironmentSeal(SECRET).open("ver-1", closed)).toEqual(code);
  });

  it("are not to be seen while they are sealed, not even that two are the same", () => {
    const [first, second] = [seal.close("ver-1", code), seal.close("ver-1", code)];
    const stored = Buffer.from(Code.encode(first).finish()).toString("latin1");
    expect(stored).not.toContain("s3cret");
    expect(stored).not.toContain(Buffer.from("s3cret").toString("base64"));
    expect(first.environment["TOKEN"]).not.toBe(second.environment["TOKEN"]);
  });

  it("of before they were sealed are read as they are", () => {
    const old = bundleCode({ TOKEN: "plain" });
    expect(seal.open("ver-1", old)).toEqual(old);
  });

  it("open for nobody else, and nowhere else", () => {
    const closed = seal.close("ver-1", bundleCode({ A: "a", B: "b" }));
    const swapped = { ...closed, environment: { A: closed.environment["B"] ?? "", B: closed.environment["A"] ?? "" } };
    expect(() => seal.open("ver-2", closed)).toThrow(/A was sealed with another secret/);
    expect(() => seal.open("ver-1", swapped)).toThrow("another secret");
    expect(() => new EnvironmentSeal(Buffer.alloc(32, 2)).open("ver-1", closed)).toThrow("the folder that it was made");
    expect(() => seal.open("ver-1", bundleCode({ A: "sealed:AAAA" }))).toThrow("another secret");
  });
});
