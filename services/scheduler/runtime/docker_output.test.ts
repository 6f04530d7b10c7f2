import { describe, expect, it } from "vitest";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { readOutput } from "./docker_output.js";

function frame(stream: 1 | 2, content: string | Buffer): Buffer {
  const bytes = Buffer.from(content);
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(bytes.byteLength, 4);
  return Buffer.concat([header, bytes]);
}

async function linesOf(chunks: readonly Buffer[], failure?: Error): Promise<string[]> {
  const lines: string[] = [];
  const stream = async function* () {
    yield* chunks;
    if (failure !== undefined) throw failure;
  };
  await readOutput(stream(), (name, line) => lines.push(`${name} ${line}`));
  return lines;
}

const BYTES = Buffer.concat([frame(1, "one\ntw"), frame(2, "three\n"), frame(1, ""), frame(1, "o\nlast é")]);
const LINES = ["stdout one", "stderr three", "stdout two", "stdout last é"];

describe("what a container prints", () => {
  it("is told line by line, whatever pieces it comes in", async () => {
    for (const size of [1, 2, 3, 7, 8, 9, BYTES.byteLength]) {
      const pieces = Array.from({ length: Math.ceil(BYTES.byteLength / size) }, (_, i) =>
        BYTES.subarray(i * size, (i + 1) * size),
      );
      expect(await linesOf(pieces)).toEqual(LINES);
    }
  });

  it("is told as far as it came when the connection breaks", async () => {
    expect(await linesOf([frame(1, "one\nha")], new Error("broken"))).toEqual(["stdout one", "stdout ha"]);
  });

  it("has no line that is too long, in whatever pieces it comes", async () => {
    const text = "x".repeat(2 * LIMITS.logLineLength + 5);
    const whole = await linesOf([frame(1, `${text}\n`)]);
    expect(whole.map((line) => line.length - "stdout ".length)).toEqual([
      LIMITS.logLineLength,
      LIMITS.logLineLength,
      5,
    ]);
    const pieces = Array.from({ length: 40 }, () => frame(2, text.slice(0, 1_000)));
    const lines = await linesOf(pieces);
    expect(Math.max(...lines.map((line) => line.length))).toBe(LIMITS.logLineLength + "stderr ".length);
    expect(lines.map((line) => line.length - "stderr ".length).reduce((a, b) => a + b)).toBe(40_000);
  });
});
