/** What a container prints, from the engine's multiplexed stream, line by line. */
import { Lines, paced } from "./output_lines.js";

export type OutputLine = (stream: "stdout" | "stderr", line: string) => void;

/** A frame: stream number, three bytes of nothing, and the length of what follows. */
const HEADER_BYTES = 8;
const STDERR = 2;

/** Settles at the stream's end, however it ends. */
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
  try {
    for await (const chunk of paced(stream)) {
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
    }
  } catch {
    // The connection broke. Whoever reads looks what became of the container.
  }
  tell("stdout", lines.stdout.rest());
  tell("stderr", lines.stderr.rest());
}
