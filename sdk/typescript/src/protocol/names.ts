/** The forms of names and identifiers. */
import { LIMITS } from "./limits.js";

const PROJECT_NAME = new RegExp(`^[A-Za-z][A-Za-z0-9_-]{0,${LIMITS.projectNameLength - 1}}$`);
const FUNCTION_NAME = new RegExp(`^[A-Za-z][A-Za-z0-9_-]{0,${LIMITS.functionNameLength - 1}}$`);
const ID = /^(ver|inv|exe|prj|wrk|key|sch)-[0-9a-hjkmnp-tv-z]{26}$/;

export type IdPrefix = "ver" | "inv" | "exe" | "prj" | "wrk" | "key" | "sch";

export const PROJECT_NAME_RULE = `1 to ${LIMITS.projectNameLength} letters, digits, "-" and "_", beginning with a letter`;
export const FUNCTION_NAME_RULE = `1 to ${LIMITS.functionNameLength} letters, digits, "-" and "_", beginning with a letter`;

/** Anything may be asked about: JavaScript passes undefined where a variable is not set, which a pattern takes for a name. */
export function isProjectName(name: unknown): boolean {
  return typeof name === "string" && PROJECT_NAME.test(name);
}

export function isFunctionName(name: unknown): boolean {
  return typeof name === "string" && FUNCTION_NAME.test(name);
}

/** Whether `id` has the form of an identifier of this kind, such as "inv-" and 26 characters of Crockford's base 32. */
export function isId(prefix: IdPrefix, id: unknown): boolean {
  return typeof id === "string" && id.startsWith(`${prefix}-`) && ID.test(id);
}

/** Whether a version id means "the newest version at the moment of the call". */
export function isLatest(versionId: string): boolean {
  return versionId === "" || versionId.toLowerCase() === "latest";
}

export const JSON_CONTENT_TYPE = "application/json";
export const CBOR_CONTENT_TYPE = "application/cbor";
