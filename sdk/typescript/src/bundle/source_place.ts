import { SourceMap } from "node:module";
import { relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

/** Finds where in the user's own source a stack began. */
export interface SourcePlaces {
  /** Such as "lib/x.ts:3:7", relative to the project folder; undefined where no line of the stack lies in the project. */
  placeIn(stack: string): string | undefined;
  /** Name of the bundled package whose code a stack ends in; undefined where that is other code. */
  bundledPackageIn(stack: string): string | undefined;
}

/**
 * @param folder where the archive was unpacked, symbolic links followed
 * @param mainText the text of main.mjs, with its inline source map
 */
export function sourcePlaces(folder: string, mainText: string): SourcePlaces {
  const map = inlineSourceMap(mainText);
  return {
    placeIn(stack) {
      let inPackage: string | undefined;
      for (const { path, line, column } of framesBelow(folder, stack)) {
        const place = path === "main.mjs" ? mapped(map, line, column) : { path, line, column };
        if (place === undefined) continue;
        const text = `${place.path}:${place.line}:${place.column}`;
        if (!place.path.split("/").includes("node_modules")) return text;
        inPackage ??= text;
      }
      return inPackage;
    },
    bundledPackageIn(stack) {
      const [top] = framesBelow(folder, stack);
      const place = top?.path === "main.mjs" ? mapped(map, top.line, top.column) : undefined;
      return /.*\bnode_modules\/((?:@[^/]+\/)?[^/]+)/.exec(place?.path ?? "")?.[1];
    },
  };
}

interface Place {
  /** Relative, with "/". */
  readonly path: string;
  /** From 1, as is the column. */
  readonly line: number;
  readonly column: number;
}

function* framesBelow(folder: string, stack: string): Generator<Place> {
  for (const [, file = "", line, column] of stack.matchAll(/((?:file:\/\/)?\/[^()\n]*?):(\d+):(\d+)\)?$/gm)) {
    const path = relative(folder, file.startsWith("file:") ? fileURLToPath(file) : file);
    if (path.startsWith("..")) continue;
    yield { path: path.split(sep).join("/"), line: Number(line), column: Number(column) };
  }
}

function mapped(map: SourceMap | undefined, line: number, column: number): Place | undefined {
  const entry = map?.findEntry(line - 1, column - 1);
  if (entry === undefined || !("originalSource" in entry)) return undefined;
  // The SDK, and what is loaded from beside the bundle, stand in it as modules without a file.
  if (/^multinode-(?:sdk|external):/.test(entry.originalSource)) return undefined;
  return { path: entry.originalSource, line: entry.originalLine + 1, column: entry.originalColumn + 1 };
}

function inlineSourceMap(text: string): SourceMap | undefined {
  const encoded = /\/\/# sourceMappingURL=data:application\/json;base64,([A-Za-z0-9+/=]+)\s*$/.exec(text)?.[1];
  if (encoded === undefined) return undefined;
  return new SourceMap(JSON.parse(Buffer.from(encoded, "base64").toString("utf8")));
}
