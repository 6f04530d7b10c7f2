import { inspect } from "node:util";

/** A result as a person reads it: like Node's console shows it. */
export function prettyValue(value: unknown, options: { readonly color: boolean; readonly columns: number }): string {
  return inspect(value, {
    colors: options.color,
    depth: 8,
    breakLength: options.columns,
    maxArrayLength: 200,
    maxStringLength: 20_000,
  });
}

/** A result in one line, to be shortened. */
export function valueLine(value: unknown): string {
  return inspect(value, { breakLength: Number.POSITIVE_INFINITY, depth: 4, maxArrayLength: 20, maxStringLength: 500 });
}

/**
 * A result as plain JSON. Where JSON has no form of its own: a bigint is its digits, a date its ISO text, a Map a list of
 * pairs, a Set a list, bytes are base64, an Error its name and message, undefined is null, NaN and infinities their names.
 */
export function jsonValue(value: unknown): unknown {
  switch (typeof value) {
    case "bigint":
      return value.toString();
    case "number":
      return Number.isFinite(value) ? value : String(value);
    case "undefined":
    case "function":
    case "symbol":
      return null;
    case "string":
    case "boolean":
      return value;
    case "object":
      return value === null ? null : jsonObject(value);
  }
}

function jsonObject(value: object): unknown {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (value instanceof Map) return [...value].map(([key, item]) => [jsonValue(key), jsonValue(item)]);
  if (value instanceof Set) return [...value].map(jsonValue);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (ArrayBuffer.isView(value) && !(value instanceof DataView))
    return Array.from(value as unknown as ArrayLike<unknown>, jsonValue);
  if (value instanceof Error) return { name: value.name, message: value.message };
  if (Array.isArray(value)) return value.map(jsonValue);
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, jsonValue(item)]));
}
