/**
 * Wire messages to checked commands. A schema says what each field must be; `parse` refuses a message for all of its bad
 * fields at once. Messages of refinements are predicates: they follow the value, as in `"a b" is not a name`.
 */
import { z } from "zod";
import {
  FUNCTION_NAME_RULE,
  type IdPrefix,
  isFunctionName,
  isId,
  isLatest,
  isProjectName,
  PROJECT_NAME_RULE,
} from "../../../sdk/typescript/src/protocol/names.js";
import { badRequest, type FieldViolation } from "../errors.js";

/** Longest piece of a value that a description repeats, in characters. */
const VALUE_LENGTH = 100;

const SETTINGS = { error: predicate, reportInput: true };

/**
 * @throws Refusal ParameterValidationError with one violation for each bad field, such as
 * `functions[2].options.cpu: 17 is above 16`.
 */
export function parse<T>(schema: z.ZodType<T>, message: unknown): T {
  return dataOf(schema.safeParse(message, SETTINGS), message);
}

/** As `parse`, for schemas with checks that wait. */
export async function parseAsync<T>(schema: z.ZodType<T>, message: unknown): Promise<T> {
  return dataOf(await schema.safeParseAsync(message, SETTINGS), message);
}

function dataOf<T>(result: z.ZodSafeParseResult<T>, message: unknown): T {
  if (result.success) return result.data;
  throw badRequest(result.error.issues.map((issue) => violation(issue, message)));
}

/** Text without NUL characters and lone surrogates, which not every database can hold. Bounds are in characters. */
export function text(min: number, max: number): z.ZodType<string> {
  return z
    .string()
    .min(min)
    .max(max)
    .refine((value) => !value.includes("\0"), "holds a NUL character")
    .refine((value) => value.isWellFormed(), "holds half of a surrogate pair");
}

export const projectNameField: z.ZodType<string> = z.string().refine(isProjectName, `is not ${PROJECT_NAME_RULE}`);

export const functionNameField: z.ZodType<string> = z.string().refine(isFunctionName, `is not ${FUNCTION_NAME_RULE}`);

export function idField(prefix: IdPrefix): z.ZodType<string> {
  return z.string().refine((id) => isId(prefix, id), `is not an identifier: "${prefix}-" and 26 characters`);
}

const DIGEST = /^[0-9a-f]{64}$/;

/** 64 lower-case hexadecimal digits. */
export const digestField: z.ZodType<string> = z
  .string()
  .refine((digest) => DIGEST.test(digest), "is not a SHA-256: 64 lower-case hexadecimal digits");

/** An explicit version, or what means the newest: empty, or "latest" in any case. */
export const versionIdField: z.ZodType<string> = z
  .string()
  .refine((id) => isLatest(id) || isId("ver", id), 'is neither "latest" nor "ver-" and 26 characters');

/** The part of a refinement's `path` that names an entry of a map: `environment["PATH"]`. */
export function mapKey(key: string): string {
  return `[${show(key)}]`;
}

/** Given as `params` of a custom issue, keeps the value out of the description. */
export const SECRET_VALUE = { secret: true };

function violation(issue: z.core.$ZodIssue, message: unknown): FieldViolation {
  const field = fieldPath(issue.path, message);
  const isSecret = issue.code === "custom" && issue.params?.["secret"] === true;
  const description = isSecret || issue.input === undefined ? issue.message : `${show(issue.input)} ${issue.message}`;
  return { field, description };
}

/** "functions[2].options.cpu": names as in the proto, where the name of a oneof is not part of the path. */
function fieldPath(path: readonly PropertyKey[], message: unknown): string {
  const parts: string[] = [];
  let value = message;
  for (const key of path) {
    const oneofCase = property(value, "$case");
    if (typeof oneofCase === "string" && key === "value") {
      parts.pop();
      parts.push(`.${snakeCase(oneofCase)}`);
    } else if (typeof key === "number") {
      parts.push(`[${key}]`);
    } else {
      const name = String(key);
      parts.push(name.startsWith("[") ? name : `.${snakeCase(name)}`);
    }
    value = property(value, key);
  }
  return parts.join("").replace(/^\./, "");
}

function property(value: unknown, key: PropertyKey): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function predicate(issue: z.core.$ZodRawIssue): string | undefined {
  const unit = issue.code === "too_big" || issue.code === "too_small" ? unitOf(issue.origin) : "";
  switch (issue.code) {
    case "invalid_type":
      if (issue.input === undefined) return "is required";
      if (issue.expected === "int") return "is not a whole number";
      return typeof issue.input === "number" ? "is not a finite number" : `is not a ${issue.expected}`;
    case "invalid_union":
      return issue.input === undefined ? "is required" : "is not one of the allowed forms";
    case "invalid_value":
      return `is not one of ${issue.values?.map(String).join(", ")}`;
    case "too_small":
      if (unit !== "") return `has fewer than ${issue.minimum} ${unit}`;
      return issue.inclusive === false ? `is not above ${issue.minimum}` : `is below ${issue.minimum}`;
    case "too_big":
      if (unit !== "") return `has more than ${issue.maximum} ${unit}`;
      return issue.inclusive === false ? `is not below ${issue.maximum}` : `is above ${issue.maximum}`;
    case "not_multiple_of":
    case "invalid_format":
    case "invalid_key":
    case "invalid_element":
    case "unrecognized_keys":
    case "custom":
      return undefined; // Their own message stands.
  }
}

function unitOf(origin: unknown): string {
  if (origin === "string") return "characters";
  return origin === "array" || origin === "set" || origin === "map" ? "items" : "";
}

/** A value as a description repeats it, on one line. */
export function show(value: unknown): string {
  if (typeof value === "string") {
    return value.length <= VALUE_LENGTH
      ? JSON.stringify(value)
      : `${JSON.stringify(value.slice(0, VALUE_LENGTH))}… (${value.length} characters)`;
  }
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return typeof value === "object" && value !== null ? "the message" : String(value);
}
