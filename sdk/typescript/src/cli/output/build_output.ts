import type { Io } from "../io.js";
import { paintFor } from "./paint.js";

/** Shows what a build prints, as it comes, in parts that may end anywhere. */
export interface BuildOutput {
  readonly write: (text: string) => void;
  /** After the last of it. Answers how long it took since the first, or undefined where nothing came. */
  readonly end: () => number | undefined;
}

/** For people as it is, on standard output; for programs each line as one JSON object, on standard error. */
export function buildOutput(io: Io, options: { readonly json: boolean }): BuildOutput {
  const paint = paintFor(io.stdout, io.env);
  let rest = "";
  let startedAt: number | undefined;
  const writeLine = (line: string) => io.stderr.write(`${JSON.stringify({ buildOutput: line })}\n`);
  return {
    write: (text) => {
      if (startedAt === undefined && !options.json) io.stdout.write(`\n${paint.bold("Building the image")}\n`);
      startedAt ??= performance.now();
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      if (options.json) for (const line of lines) writeLine(line);
      else io.stdout.write(text);
    },
    end: () => {
      if (rest !== "" && options.json) writeLine(rest);
      else if (rest !== "") io.stdout.write("\n");
      rest = "";
      return startedAt === undefined ? undefined : performance.now() - startedAt;
    },
  };
}
