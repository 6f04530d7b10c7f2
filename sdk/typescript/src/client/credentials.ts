/**
 * Where the URL and the API key come from: options, then the environment, then the file that `multinode login` writes.
 * Each of the two is looked for separately.
 */

import { readFileSync } from "node:fs";
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { ApiKeyIsInvalid, CredentialsMissingError, ParameterValidationError } from "../errors.js";

export interface Credentials {
  /** Such as "http://127.0.0.1:7411" or "https://multinode.example.com". */
  readonly apiUrl: string;
  readonly apiKey: string;
}

export type PartialCredentials = { readonly [Key in keyof Credentials]?: string | undefined };

/** Environment variables. The type of Node has no place here: users see this file's, and may have none of Node's. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The folder of Multinode's own files: `$MULTINODE_HOME`, or `~/.multinode`. */
export function multinodeHome(env: Environment): string {
  return env["MULTINODE_HOME"] || join(homedir(), ".multinode");
}

export function loginFilePath(env: Environment): string {
  return join(multinodeHome(env), "credentials.json");
}

/**
 * Blanks around them are left out: who reads a key from a file has a line break behind it. Throws CredentialsMissingError,
 * which says which one is missing and how to set it, and, for what cannot be sent, ApiKeyIsInvalid or ParameterValidationError.
 */
export function resolveCredentials(options: PartialCredentials, env: Environment = process.env): Credentials {
  const fromEnv = { apiUrl: env["MULTINODE_API_URL"], apiKey: env["MULTINODE_API_KEY"] };
  let fromFile: PartialCredentials | undefined;
  const find = (key: keyof Credentials): string | undefined => {
    const given = textOf(key, options[key]) || fromEnv[key]?.trim();
    if (given) return given;
    fromFile ??= parseLoginFile(readIfThere(loginFilePath(env)));
    return fromFile[key]?.trim() || undefined;
  };
  const apiUrl = find("apiUrl");
  const apiKey = find("apiKey");
  if (apiUrl === undefined || apiKey === undefined)
    throw missing(apiUrl === undefined, apiKey === undefined, loginFilePath(env));
  checkUrl(apiUrl);
  checkKey(apiKey);
  return { apiUrl, apiKey };
}

function textOf(field: keyof Credentials, value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "string") return value.trim();
  throw bad(field, `must be a string, and is a ${typeof value}`);
}

/** URLs drop line breaks and tabs without a word; in a message they would break its lines. */
function checkUrl(apiUrl: string): void {
  const place = apiUrl.search(/\p{Cc}/u);
  if (place >= 0) throw bad("apiUrl", `has a control character at place ${place + 1}`);
}

/** The key goes into a header. What refuses it there shows the whole of it, which must not get into logs. */
function checkKey(apiKey: string): void {
  const place = apiKey.search(/[^\x21-\x7e]/);
  if (place < 0) return;
  throw new ApiKeyIsInvalid(
    `the API key is none: its character ${place + 1} of ${apiKey.length} is a blank, a control character, ` +
      "or none of ASCII",
  );
}

function bad(field: keyof Credentials, description: string): ParameterValidationError {
  return new ParameterValidationError(`${field}: ${description}`, { violations: [{ field, description }] });
}

/** What the login file holds; nothing where there is none. */
export async function readLoginFile(env: Environment): Promise<PartialCredentials> {
  try {
    return parseLoginFile(await readFile(loginFilePath(env), "utf8"));
  } catch (error) {
    if (isNotFound(error)) return {};
    throw error;
  }
}

/** Writes the login file whole or not at all, readable by its owner only (mode 0600). Answers its path. */
export async function writeLoginFile(credentials: Credentials, env: Environment): Promise<string> {
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
export async function removeLoginFile(env: Environment): Promise<boolean> {
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
