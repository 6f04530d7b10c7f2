import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { LIMITS } from "../protocol/limits.js";
import { ProjectError } from "./project_error.js";

const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Reads `.env` of the project folder. No file means no variables. */
export async function readEnvironmentFile(directory: string): Promise<Record<string, string>> {
  let text: string;
  try {
    text = await readFile(join(directory, ".env"), "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return {};
    throw new ProjectError(".env cannot be read.", "Make it a file that you may read, or remove it.", { cause: error });
  }
  const environment: Record<string, string> = {};
  let bytes = 0;
  for (const [name, value] of Object.entries(parseEnv(text))) {
    if (value === undefined) continue;
    if (!VARIABLE_NAME.test(name)) {
      throw new ProjectError(
        `.env: "${name}" is not a name of a variable.`,
        'Use letters, digits and "_", not beginning with a digit.',
      );
    }
    environment[name] = value;
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  }
  const count = Object.keys(environment).length;
  if (count > LIMITS.environmentVariables || bytes > LIMITS.environmentBytes) {
    throw new ProjectError(
      `.env holds ${count} variables of ${bytes} bytes; the limits are ${LIMITS.environmentVariables} and ${LIMITS.environmentBytes}.`,
      "Keep secrets in .env, and data in files that main.ts imports.",
    );
  }
  return environment;
}
