import { describe, expect, it } from "vitest";
import { describeProgress, ProgressLine } from "./progress.ts";

function shown(isTTY: boolean): string {
  let text = "";
  const line = new ProgressLine({ isTTY, write: (part: string) => (text += part) });
  for (const part of ["one", "one", "two"]) line.show(part);
  line.end();
  return text;
}

describe("ProgressLine", () => {
  it("redraws one line on a terminal", () => {
    expect(shown(true)).toBe("\r\u001b[2Kone\r\u001b[2Ktwo\n");
  });

  it("writes plain lines elsewhere", () => {
    expect(shown(false)).toBe("one\ntwo\n");
  });
});

describe("describeProgress", () => {
  it("tells the round, the length and the gap to the optimum", () => {
    expect(describeProgress({ round: 2, rounds: 10, bestLength: 8_000, bestTour: [], optimum: 7_542 })).toBe(
      "round 2 of 10: 8000, 6.07 % above the optimum",
    );
  });
});
