/**
 * The context of an image: what of a project folder is sent where the folder has a Dockerfile. It is an archive like a bundle,
 * named by its digest, so a folder that has not changed is neither sent nor built again.
 */
import type { Dirent } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import dockerignore, { type Ignore } from "@balena/dockerignore";
import { LIMITS } from "../protocol/limits.js";
import { type Archive, type ArchiveFile, createArchive } from "./archive.js";
import { ArchiveIsInvalidError, checkArchive } from "./check_archive.js";
import { ProjectError } from "./project_error.js";

const DOCKERFILE = "Dockerfile";
const IGNORE_FILE = ".dockerignore";
/** Left out unless .dockerignore brings them back. */
const LEFT_OUT = [".git", "**/node_modules"];
/** Never sent: its values are stored with the version, where nobody reads them, and an image shows all that is in it. */
const SECRET = ".env";
const EXECUTABLE_BITS = 0o111;
const LESS_HINT = `Name what the Dockerfile does not need in ${IGNORE_FILE}.`;

/** Undefined: the folder has no Dockerfile. Throws ProjectError. */
export async function archiveContext(directory: string): Promise<Archive | undefined> {
  const dockerfile = await stat(join(directory, DOCKERFILE)).catch(() => undefined);
  if (dockerfile?.isFile() !== true) return undefined;
  const files = new Map<string, ArchiveFile>();
  let bytes = 0;
  for await (const path of pathsIn(directory, await readRules(directory))) {
    const { size, mode } = await stat(join(directory, path));
    bytes += size;
    if (bytes > LIMITS.bundleUnpackedBytes || files.size >= LIMITS.bundleEntries) {
      const limits = `${LIMITS.bundleUnpackedBytes} bytes and ${LIMITS.bundleEntries} files`;
      throw new ProjectError(`The folder is too large to build an image of: the limits are ${limits}.`, LESS_HINT);
    }
    files.set(path, { data: await readFile(join(directory, path)), executable: (mode & EXECUTABLE_BITS) !== 0 });
  }
  const archive = createArchive(files);
  try {
    checkArchive(archive.bytes);
  } catch (error) {
    if (!(error instanceof ArchiveIsInvalidError)) throw error;
    throw new ProjectError(`No image can be built of the folder: ${error.message}.`, LESS_HINT, { cause: error });
  }
  return archive;
}

interface Rules {
  readonly ignore: Ignore;
  /** Patterns that bring back what others leave out. */
  readonly exceptions: readonly string[];
}

async function readRules(directory: string): Promise<Rules> {
  const text = await readFile(join(directory, IGNORE_FILE), "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw new ProjectError(`${IGNORE_FILE} cannot be read.`, "Make it a file that you may read, or remove it.", {
      cause: error,
    });
  });
  const exceptions = text.split("\n").flatMap((line) => /^!\s*\/*(.*?)\/*\s*$/.exec(line)?.[1] ?? []);
  return { ignore: dockerignore.default({ ignorecase: false }).add(LEFT_OUT).add(text).add(SECRET), exceptions };
}

/** Paths of the files that are sent, with "/" between their parts. */
async function* pathsIn(directory: string, rules: Rules, folder = ""): AsyncGenerator<string> {
  for (const entry of await readdir(join(directory, folder), { withFileTypes: true })) {
    const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
    const isIgnored = path !== DOCKERFILE && rules.ignore.ignores(path);
    if (entry.isDirectory()) {
      const mayHoldMore = rules.exceptions.some((exception) => `${exception}/`.startsWith(`${path}/`));
      if (!isIgnored || mayHoldMore) yield* pathsIn(directory, rules, path);
    } else if (!isIgnored) {
      refuseSpecial(entry, path);
      yield path;
    }
  }
}

function refuseSpecial(entry: Dirent, path: string): void {
  if (entry.isFile()) return;
  const kind = entry.isSymbolicLink() ? "a link" : "no file";
  throw new ProjectError(`${path} is ${kind}, and an image is built of files only.`, `Put a file there. ${LESS_HINT}`);
}
