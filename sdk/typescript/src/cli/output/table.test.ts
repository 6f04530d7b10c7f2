import { expect, test } from "vitest";
import { fieldLines, tableLines } from "./table.js";

test("columns are aligned by what is seen of them", () => {
  const lines = tableLines(
    ["NAME", "STATE"],
    [
      ["\u001b[1mlonger\u001b[22m", "x"],
      ["é", ""],
    ],
  );
  expect(lines).toEqual(["NAME    STATE", "\u001b[1mlonger\u001b[22m  x", "é"]);
});

test("fields without a value are left out", () => {
  expect(
    fieldLines([
      ["a", "1"],
      ["longer", "2"],
      ["none", undefined],
    ]),
  ).toEqual(["a       1", "longer  2"]);
});
