import { expect, it } from "vitest";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { readLines } from "./output_lines.js";

async function linesOf(chunks: Iterable<Uint8Array>): Promise<string[]> {
  const lines: string[] = [];
  const stream = async function* () {
    yield* chunks;
  };
  await readLines(stream(), (line) => lines.push(line));
  return lines;
}

it("lines are told whole, whatever pieces they come in, and the last one without its end", async () => {
  const bytes = Buffer.from("one\n\ntwö\nlast é");
  for (const size of [1, 2, 3, bytes.byteLength]) {
    const pieces = [];
    for (let at = 0; at < bytes.byteLength; at += size) pieces.push(bytes.subarray(at, at + size));
    expect(await linesOf(pieces)).toEqual(["one", "", "twö", "last é"]);
  }
});

it("one that does not end is told in pieces as it comes, and nothing of it is kept", async () => {
  const chunk = Buffer.alloc(LIMITS.logLineLength, "x");
  let told = 0;
  let mostKept = 0;
  const stream = async function* () {
    for (let count = 1; count <= 10; count += 1) {
      yield chunk;
      mostKept = Math.max(mostKept, count * chunk.byteLength - told);
    }
  };
  await readLines(stream(), (line) => {
    expect(line.length).toBeLessThanOrEqual(LIMITS.logLineLength);
    told += line.length;
  });
  expect(told).toBe(10 * chunk.byteLength);
  expect(mostKept).toBeLessThanOrEqual(LIMITS.logLineLength);
});

it("what comes faster than 5 MiB a second is waited with", async () => {
  const startedAt = performance.now();
  await linesOf(Array.from({ length: 16 }, () => Buffer.alloc(64 * 1024, "x\n")));
  expect(performance.now() - startedAt).toBeGreaterThan(190); // 1 MiB, less what a timer may be early
});
