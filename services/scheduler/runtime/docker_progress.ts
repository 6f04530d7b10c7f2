/** What an engine says while it builds: JSON objects, one a line. */
import type { Readable } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import { ImageBuildError } from "./runtime.js";

interface Progress {
  /** What the build prints. */
  readonly stream?: string;
  /** About a layer that is being fetched. */
  readonly status?: string;
  readonly id?: string;
  /** Present in a status that only counts bytes. */
  readonly progressDetail?: { readonly total?: number };
  readonly error?: string;
  /** The image, once it is there. With several stages the last one counts. */
  readonly aux?: { readonly ID?: string };
}

/**
 * Reads to the end, and answers the id of the image. Ends the build when `stop` is aborted.
 *
 * @throws ImageBuildError with what the engine says went wrong
 */
export async function readProgress(
  stream: Readable,
  print: (text: string) => void,
  stop: AbortSignal,
): Promise<string> {
  const abort = () => stream.destroy(new Error("the build was ended"));
  stop.addEventListener("abort", abort);
  if (stop.aborted) abort();
  let image: string | undefined;
  try {
    for await (const { stream: text, status, id, progressDetail, error, aux } of objectsOf(stream)) {
      if (error !== undefined) throw new ImageBuildError(error);
      // It paints what a step says on its standard error, over the ends of lines.
      if (text !== undefined) print(stripVTControlCharacters(text));
      if (status !== undefined && progressDetail?.total === undefined)
        print(`${id === undefined ? "" : `${id}: `}${status}\n`);
      image = aux?.ID ?? image;
    }
  } finally {
    stop.removeEventListener("abort", abort);
  }
  if (image === undefined) throw new Error("the Docker engine ended the build without a word");
  return image;
}

async function* objectsOf(stream: Readable): AsyncGenerator<Progress> {
  let rest = "";
  stream.setEncoding("utf8");
  for await (const chunk of stream) {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") yield JSON.parse(line) as Progress;
  }
}
