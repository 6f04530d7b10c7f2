/**
 * Where the URL and the API key come from: options, then the environment, then the file that `multinode login` writes.
 * Each of the two is looked for separately.
 */

import { readFileSync } from "node:fs";
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { CredentialsMissingError } from "./errors.js";

export interface Credentials {
  /** Such as "http://127.0.0.1:7411" or "https://multinode.example.com". */
  readonly apiUrl: string;
  readonly apiKey: string;
}

export type PartialCredentials = { readonly [Key in keyof Credentials]?: string | undefined };

/** The folder of Multinode's own files: `$MULTINODE_HOME`, or `~/.multinode`. */
export function multinodeHome(env: NodeJS.ProcessEnv): string {
  return env["MULTINODE_HOME"] || join(homedir(), ".multinode");
}

export function loginFilePath(env: NodeJS.ProcessEnv): string {
  return join(multinodeHome(env), "credentials.json");
}

/** Throws CredentialsMissingError, which says which one is missing and how to set it. */
export function resolveCredentials(options: PartialCredentials, env: NodeJS.ProcessEnv = process.env): Credentials {
  const fromEnv = { apiUrl: env["MULTINODE_API_URL"], apiKey: env["MULTINODE_API_KEY"] };
  let fromFile: PartialCredentials | undefined;
  const find = (key: keyof Credentials): string | undefined => {
    const given = options[key] || fromEnv[key];
    if (given) return given;
    fromFile ??= parseLoginFile(readIfThere(loginFilePath(env)));
    return fromFile[key] || undefined;
  };
  const apiUrl = find("apiUrl");
  const apiKey = find("apiKey");
  if (apiUrl === undefined || apiKey === undefined)
    throw missing(apiUrl === undefined, apiKey === undefined, loginFilePath(env));
  return { apiUrl, apiKey };
}

/** What the login file holds; nothing where there is none. */
export async function readLoginFile(env: NodeJS.ProcessEnv): Promise<PartialCredentials> {
  try {
    return parseLoginFile(await readFile(loginFilePath(env), "utf8"));
  } catch (error) {
    if (isNotFound(error)) return {};
    throw error;
  }
}

/** Writes the login file whole or not at all, readable by its owner only (mode 0600). Answers its path. */
export async function writeLoginFile(credentials: Credentials, env: NodeJS.ProcessEnv): Promise<string> {
  const path = loginFilePath(env);
  await mkdir(multinodeHome(env), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${crypto.randomUUID()}`;
  const { apiUrl, apiKey } = credentials;
  await writeFile(temporary, `${JSON.stringify({ apiUrl, apiKey }, undefined, 2)}\n`, { mode: 0o600 });
  await chmod(temporary, 0o600);
  await rename(temporary, path);
  return path;
}

/** Removes the login file. Answers whether there was one. */
export async function removeLoginFile(env: NodeJS.ProcessEnv): Promise<boolean> {
  try {
    await rm(loginFilePath(env));
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** A damaged file counts as one without content: the error that follows says what to do. */
function parseLoginFile(text: string | undefined): PartialCredentials {
  try {
    const parsed: unknown = JSON.parse(text ?? "{}");
    if (typeof parsed !== "object" || parsed === null) return {};
    const { apiUrl, apiKey } = parsed as Record<string, unknown>;
    return {
      apiUrl: typeof apiUrl === "string" ? apiUrl : undefined,
      apiKey: typeof apiKey === "string" ? apiKey : undefined,
    };
  } catch {
    return {};
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

function missing(lacksUrl: boolean, lacksKey: boolean, path: string): CredentialsMissingError {
  const which = [...(lacksUrl ? (["apiUrl"] as const) : []), ...(lacksKey ? (["apiKey"] as const) : [])];
  const names = { apiUrl: "the API URL", apiKey: "the API key" };
  const variables = { apiUrl: "MULTINODE_API_URL", apiKey: "MULTINODE_API_KEY" };
  return new CredentialsMissingError(
    which,
    `${which.map((key) => names[key]).join(" and ")} of the Multinode server ${which.length > 1 ? "are" : "is"} missing: pass ` +
      `${which.join(" and ")}, set ${which.map((key) => variables[key]).join(" and ")}, or run "multinode login" (it writes ${path})`,
  );
}
