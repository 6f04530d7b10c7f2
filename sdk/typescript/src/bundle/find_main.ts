import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { ProjectError } from "./project_error.js";

/** Names of the file that a project begins with. Where several exist the first wins: a compiled main.js beside main.ts is not the source. */
const MAIN_NAMES = ["main.ts", "main.mts", "main.js", "main.mjs"] as const;

export interface ProjectFolder {
  /** Absolute path of the folder. */
  readonly directory: string;
  /** Name of the main file in it, such as "main.ts". */
  readonly mainName: string;
}

/** Finds the main file of a project folder. Throws a ProjectError where there is none. */
export async function findMain(folder: string): Promise<ProjectFolder> {
  const directory = resolve(folder);
  const kind = await kindOf(directory);
  if (kind === "missing") {
    throw new ProjectError(`The folder ${folder} does not exist.`, "Give the folder that holds main.ts.");
  }
  if (kind === "file") {
    throw new ProjectError(`${folder} is a file, not a folder.`, "Give the folder that holds it.");
  }
  for (const mainName of MAIN_NAMES) {
    if ((await kindOf(join(directory, mainName))) === "file") return { directory, mainName };
  }
  throw new ProjectError(
    `There is no main.ts in ${folder} (nor main.js, main.mts, main.mjs).`,
    "Create main.ts, and export your Multinode object and its functions from it.",
  );
}

async function kindOf(path: string): Promise<"missing" | "file" | "folder"> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return "missing";
  return found.isDirectory() ? "folder" : "file";
}
