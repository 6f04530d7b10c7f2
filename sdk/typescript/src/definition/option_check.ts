/** The check of whatever options a caller writes: each bad one is told with its value and its bound. */
import { inspect, types } from "node:util";
import { ParameterValidationError, type Violation } from "../errors.js";
import { DURATION_RULE, parseDurationMs, parseSizeBytes, SIZE_RULE } from "./units.js";

const SHOWN_LENGTH = 100;
const DAY_MS = 86_400_000;

export interface Bounds {
  readonly min?: number;
  readonly above?: number;
  readonly max?: number;
}

/** Collects everything that is wrong, so that all of it is told at once. */
export class OptionCheck {
  readonly #violations: Violation[] = [];

  /** Answers whether there is anything whose options can be looked at. */
  names(prefix: string, written: unknown, known: readonly string[]): boolean {
    if (typeof written !== "object" || written === null) {
      this.violation("options", written, "must be an object with options");
      return false;
    }
    for (const name of Object.keys(written)) {
      if (known.includes(name)) continue;
      const meant = nearest(name, known);
      const perhaps = meant === undefined ? "" : `; perhaps ${meant} is meant`;
      const description = `is no option; the options are ${known.join(", ")}${perhaps}`;
      this.#violations.push({ field: `${prefix}${name}`, description });
    }
    return true;
  }

  oneOf(field: string, value: unknown, choices: readonly string[]): void {
    if (value === undefined || choices.some((choice) => choice === value)) return;
    this.violation(field, value, `must be one of ${choices.map((choice) => JSON.stringify(choice)).join(", ")}`);
  }

  text(field: string, value: unknown, bounds: { readonly min: number; readonly max: number }): void {
    if (value === undefined) return;
    const isText = typeof value === "string" && value.length >= bounds.min && value.length <= bounds.max;
    if (!isText) this.violation(field, value, `must be a text of ${bounds.min} to ${bounds.max} characters`);
    // It would become another character on its way, and two texts the same.
    else if (!value.isWellFormed()) this.violation(field, value, "holds half of a surrogate pair");
  }

  boolean(field: string, value: unknown): void {
    if (value !== undefined && typeof value !== "boolean") this.violation(field, value, "must be true or false");
  }

  date(field: string, value: unknown): void {
    if (value === undefined || (types.isDate(value) && value.getTime() >= 0)) return;
    this.violation(field, value, "must be a Date, with a time of 1970 or later");
  }

  /** By what it can do: that of another realm, such as a test's, is another class. */
  signal(field: string, value: unknown): void {
    if (value === undefined) return;
    const isSignal = typeof value === "object" && value !== null && "aborted" in value && "addEventListener" in value;
    if (!isSignal) this.violation(field, value, "must be an AbortSignal");
  }

  number(field: string, value: unknown, bounds: Bounds): number | undefined {
    if (value === undefined) return undefined;
    if (typeof value !== "number" || Number.isNaN(value)) return this.violation(field, value, "must be a number");
    return this.#bounded(field, value, value, bounds, String);
  }

  integer(field: string, value: unknown, bounds: Bounds): number | undefined {
    if (value === undefined) return undefined;
    if (!Number.isInteger(value))
      return this.violation(field, value, `must be a whole number ${rangeOf(bounds, String)}`);
    return this.#bounded(field, value, Number(value), bounds, String);
  }

  size(field: string, value: unknown, bounds: Bounds): number | undefined {
    if (value === undefined) return undefined;
    const bytes = parseSizeBytes(value);
    if (bytes === undefined) return this.violation(field, value, `must be ${SIZE_RULE}`);
    return this.#bounded(field, value, bytes, bounds, formatSize);
  }

  duration(field: string, value: unknown, bounds: Bounds): number | undefined {
    if (value === undefined) return undefined;
    const ms = parseDurationMs(value);
    if (ms === undefined) return this.violation(field, value, `must be ${DURATION_RULE}`);
    return this.#bounded(field, value, ms, bounds, formatDuration);
  }

  violation(field: string, value: unknown, problem: string): undefined {
    this.#violations.push({ field, description: `${show(value)} ${problem}` });
  }

  /** @param head what the message begins with, such as the method; `several`: where more than one option is bad */
  throwIfAny(head: string, several = head): void {
    const violations = this.#violations;
    if (violations.length === 0) return;
    const text = violations.map(({ field, description }) => `${field}: ${description}`).join("; ");
    throw new ParameterValidationError(`${violations.length > 1 ? several : head}: ${text}`, { violations });
  }

  #bounded(field: string, written: unknown, value: number, bounds: Bounds, format: (value: number) => string) {
    const isBelow =
      bounds.above !== undefined ? value <= bounds.above : value < (bounds.min ?? Number.NEGATIVE_INFINITY);
    if (isBelow || value > (bounds.max ?? Number.POSITIVE_INFINITY)) {
      return this.violation(field, written, `must be ${rangeOf(bounds, format)}`);
    }
    return value;
  }
}

function rangeOf(bounds: Bounds, format: (value: number) => string): string {
  const low = bounds.above !== undefined ? `above ${format(bounds.above)}` : `at least ${format(bounds.min ?? 0)}`;
  return bounds.max === undefined ? low : `${low} and at most ${format(bounds.max)}`;
}

function formatSize(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const [unit, size] =
    bytes >= 1024 ** 3 ? ["GiB", 1024 ** 3] : bytes >= 1024 ** 2 ? ["MiB", 1024 ** 2] : ["KiB", 1024];
  return `${bytes / Number(size)} ${unit}`;
}

function formatDuration(ms: number): string {
  if (ms > DAY_MS && ms % DAY_MS === 0) return `${ms / DAY_MS}d`;
  for (const [unit, size] of [
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1_000],
  ] as const) {
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

/** A value in a message: short, whatever it is. */
export function show(value: unknown): string {
  const text = typeof value === "string" ? JSON.stringify(value) : inspect(value, { depth: 0, breakLength: Infinity });
  return text.length <= SHOWN_LENGTH ? text : `${text.slice(0, SHOWN_LENGTH)}…`;
}

/** The known name that was perhaps meant: one that this is a part of, or that differs in case and two letters at most. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const written = name.toLowerCase();
  const close = known.find((each) => distance(written, each.toLowerCase()) <= Math.min(2, written.length / 2));
  if (close !== undefined || written.length < 3) return close;
  return known.find((each) => each.toLowerCase().includes(written) || written.includes(each.toLowerCase()));
}

/** Letters to insert, remove or replace to make one text of the other. */
function distance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 0; row < a.length; row += 1) {
    const line = [row + 1];
    for (let column = 1; column <= b.length; column += 1) {
      const replaced = (above[column - 1] ?? 0) + (a[row] === b[column - 1] ? 0 : 1);
      line.push(Math.min(replaced, (above[column] ?? 0) + 1, (line[column - 1] ?? 0) + 1));
    }
    above = line;
  }
  return above[b.length] ?? 0;
}
