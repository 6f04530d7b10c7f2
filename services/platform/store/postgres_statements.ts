/**
 * SQL of the database port as PostgreSQL takes it: `?` become `$1`, `$2`..., and a statement that is run for many rows becomes
 * one that takes each parameter as an array with the values of all rows.
 */
import type { SqlValue } from "./db.js";

/** Rows, and bytes of text, of one statement for many rows. */
const MOST_ROWS = 1_000;
const MOST_BYTES = 1_000_000;

/** `sql` with each `?` outside of quotes replaced by what `replacement` makes of its position, from 1. */
function replacePlaceholders(sql: string, replacement: (position: number) => string): string {
  let quote = "";
  let position = 0;
  let replaced = "";
  for (const character of sql) {
    if (quote !== "") {
      if (character === quote) quote = "";
    } else if (character === "'" || character === '"') {
      quote = character;
    } else if (character === "?") {
      position += 1;
      replaced += replacement(position);
      continue;
    }
    replaced += character;
  }
  return replaced;
}

export function numbered(sql: string): string {
  return replacePlaceholders(sql, (position) => `$${position}`);
}

/**
 * The form of an INSERT ... VALUES, UPDATE ... WHERE or DELETE ... WHERE that takes arrays, given the types of its parameters,
 * such as "bigint". Undefined where it has none: then it is run row by row.
 */
export function forManyRows(sql: string, types: readonly string[]): string | undefined {
  if (types.length === 0) return undefined;
  const columns = types.map((_, index) => `p${index + 1}`).join(", ");
  const arrays = types.map((type, index) => `$${index + 1}::${type}[]`).join(", ");
  const given = `unnest(${arrays}) AS given (${columns})`;
  const text = replacePlaceholders(sql, (position) => `given.p${position}`);
  const insert = /^(\s*INSERT\s[\s\S]*?)\sVALUES\s*\(([\s\S]*?)\)(\s*ON\s+CONFLICT\s[\s\S]*)?\s*$/i.exec(text);
  if (insert !== null) return `${insert[1]} SELECT ${insert[2]} FROM ${given}${insert[3] ?? ""}`;
  const change = /^(\s*(UPDATE|DELETE)\s(?:(?!\sWHERE\s)[\s\S])*)\sWHERE\s((?:(?!\sWHERE\s)[\s\S])*)$/i.exec(text);
  if (change === null) return undefined;
  return `${change[1]} ${change[2]?.toUpperCase() === "UPDATE" ? "FROM" : "USING"} ${given} WHERE ${change[3]}`;
}

/** Rows in parts, each of which one statement takes. */
export function* inParts(rows: readonly (readonly SqlValue[])[]): Generator<readonly (readonly SqlValue[])[]> {
  let part: (readonly SqlValue[])[] = [];
  let bytes = 0;
  for (const row of rows) {
    const size = sizeOf(row);
    if (part.length > 0 && (part.length === MOST_ROWS || bytes + size > MOST_BYTES)) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(row);
    bytes += size;
  }
  if (part.length > 0) yield part;
}

function sizeOf(row: readonly SqlValue[]): number {
  let size = 0;
  for (const value of row) {
    if (typeof value === "string") size += value.length;
    else if (value instanceof Uint8Array) size += 2 * value.byteLength;
  }
  return size;
}

/** The values of one parameter in all rows, as the text of an array. */
export function arrayText(rows: readonly (readonly SqlValue[])[], index: number): string {
  let text = "{";
  for (const row of rows) {
    const value = row[index] ?? null;
    if (text.length > 1) text += ",";
    if (value === null) text += "NULL";
    else if (typeof value === "number") text += value;
    else if (typeof value === "string") text += quoted(value);
    else text += `"\\\\x${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex")}"`;
  }
  return `${text}}`;
}

function quoted(text: string): string {
  return /["\\]/.test(text) ? `"${text.replaceAll(/["\\]/g, "\\$&")}"` : `"${text}"`;
}
