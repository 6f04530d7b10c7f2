/** What a worker prints, line by line and bounded: a line in its length, and all of it in its pace. */
import { StringDecoder } from "node:string_decoder";
import { setTimeout as delay } from "node:timers/promises";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";

/** After this much a pause is made: at most 5 MiB/s of one worker. */
const BURST_BYTES = 256 * 1024;
const PAUSE_MS = 50;

/** Settles at the stream's end, however it ends. */
export async function readLines(stream: AsyncIterable<Uint8Array>, onLine: (line: string) => void): Promise<void> {
  const lines = new Lines();
  try {
    for await (const chunk of paced(stream)) for (const line of lines.add(chunk)) onLine(line);
  } catch {
    // Whoever reads is told of the worker's end in another way.
  }
  for (const line of lines.rest()) onLine(line);
}

/** The same, with pauses: a worker that prints faster fills its own pipe and waits. */
export async function* paced(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  let burst = 0;
  for await (const chunk of stream) {
    yield chunk;
    burst += chunk.byteLength;
    if (burst < BURST_BYTES) continue;
    burst = 0;
    await delay(PAUSE_MS);
  }
}

/** Bytes in, whole lines out. Longer lines are cut in pieces. */
export class Lines {
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
