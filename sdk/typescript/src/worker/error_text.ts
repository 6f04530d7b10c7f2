import { inspect, types } from "node:util";
import { LIMITS } from "../protocol/limits.js";

/** Longest dump of an error in the log, in characters. */
const STACK_LENGTH = 64 * 1024;

/**
 * What is recorded of something that was thrown: "ClassName: message", cut at `LIMITS.errorLength` characters. Whatever
 * was thrown, this never throws.
 */
export function errorText(thrown: unknown): string {
  return cutText(describe(thrown), LIMITS.errorLength);
}

/** The stack of something that was thrown, with its causes and properties. Never throws. */
export function stackText(thrown: unknown): string {
  try {
    return cutText(inspect(thrown, { depth: 4 }), STACK_LENGTH);
  } catch {
    return describe(thrown);
  }
}

/**
 * At most `length` characters of a text; where it is cut, its end says by how much.
 *
 * @param droppedLength characters that followed the text and are gone already
 */
export function cutText(text: string, length: number, droppedLength = 0): string {
  if (text.length <= length && droppedLength === 0) return text;
  const wholeLength = text.length + droppedLength;
  const kept = text.slice(0, length - cutMark(wholeLength).length).toWellFormed();
  return kept + cutMark(wholeLength - kept.length);
}

function cutMark(cutLength: number): string {
  return `… [cut: ${cutLength} characters]`;
}

function describe(thrown: unknown): string {
  try {
    if (!(types.isNativeError(thrown) || thrown instanceof Error)) return `Error: ${inspect(thrown)}`;
    const message = String(thrown.message);
    return message === "" ? className(thrown) : `${className(thrown)}: ${message}`;
  } catch {
    return "Error: something was thrown that cannot be described";
  }
}

/** A name that was set says more than the class; most classes do not set one. */
function className(error: Error): string {
  const { name } = error;
  if (typeof name === "string" && name !== "" && name !== "Error") return name;
  const constructorName: unknown = error.constructor?.name;
  return typeof constructorName === "string" && constructorName !== "" ? constructorName : "Error";
}
