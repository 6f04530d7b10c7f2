/**
 * What a container prints, from the engine's multiplexed stream, line by line. Reading is paced: a worker that prints
 * faster fills its own pipe and waits.
 */
import { StringDecoder } from "node:string_decoder";
import { setTimeout as delay } from "node:timers/promises";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";

export type OutputLine = (stream: "stdout" | "stderr", line: string) => void;

/** A frame: stream number, three bytes of nothing, and the length of what follows. */
const HEADER_BYTES = 8;
const STDERR = 2;
/** After this much a pause is made: at most 5 MiB/s of one worker. */
const BURST_BYTES = 256 * 1024;
const PAUSE_MS = 50;

/** Settles at the stream's end, however it ends. Longer lines are cut in pieces. */
export async function readOutput(stream: AsyncIterable<Uint8Array>, onLine: OutputLine): Promise<void> {
  const lines = { stdout: new Lines(), stderr: new Lines() };
  const tell = (name: "stdout" | "stderr", text: readonly string[]) => {
    for (const line of text) onLine(name, line);
  };
  let target = lines.stdout;
  let name: "stdout" | "stderr" = "stdout";
  let headerSize = 0;
  const header = Buffer.alloc(HEADER_BYTES);
  let frameLeft = 0;
  let burst = 0;
  try {
    for await (const chunk of stream) {
      for (let at = 0; at < chunk.byteLength; ) {
        if (frameLeft === 0) {
          header[headerSize] = chunk[at] ?? 0;
          headerSize += 1;
          at += 1;
          if (headerSize < HEADER_BYTES) continue;
          headerSize = 0;
          name = header[0] === STDERR ? "stderr" : "stdout";
          target = lines[name];
          frameLeft = header.readUInt32BE(4);
          continue;
        }
        const end = Math.min(chunk.byteLength, at + frameLeft);
        tell(name, target.add(chunk.subarray(at, end)));
        frameLeft -= end - at;
        at = end;
      }
      burst += chunk.byteLength;
      if (burst >= BURST_BYTES) {
        burst = 0;
        await delay(PAUSE_MS);
      }
    }
  } catch {
    // The connection broke. Whoever reads looks what became of the container.
  }
  tell("stdout", lines.stdout.rest());
  tell("stderr", lines.stderr.rest());
}

/** Bytes in, whole lines out. */
class Lines {
  readonly #decoder = new StringDecoder("utf8");
  #text = "";

  add(bytes: Uint8Array): string[] {
    const parts = (this.#text + this.#decoder.write(Buffer.from(bytes))).split("\n");
    this.#text = parts.pop() ?? "";
    const lines = parts.flatMap(inPieces);
    while (this.#text.length > LIMITS.logLineLength) {
      lines.push(this.#text.slice(0, LIMITS.logLineLength));
      this.#text = this.#text.slice(LIMITS.logLineLength);
    }
    return lines;
  }

  rest(): string[] {
    const text = this.#text + this.#decoder.end();
    this.#text = "";
    return text === "" ? [] : inPieces(text);
  }
}

function inPieces(line: string): string[] {
  if (line.length <= LIMITS.logLineLength) return [line];
  const pieces: string[] = [];
  for (let at = 0; at < line.length; at += LIMITS.logLineLength) pieces.push(line.slice(at, at + LIMITS.logLineLength));
  return pieces;
}
