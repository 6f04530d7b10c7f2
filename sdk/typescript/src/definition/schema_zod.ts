/**
 * What JSON Schema does not say by itself of a schema of zod. The server checks before the schema does, so what is told to it
 * may refuse nothing that the schema takes: where zod changes a value before it checks it, or checks by what JSON Schema has
 * no word for, the worker alone checks.
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { Side } from "./schema.js";

export type JsonSchema = Readonly<Record<string, unknown>>;

interface ZodNode {
  readonly zodSchema: unknown;
  readonly jsonSchema: Record<string, unknown>;
}

interface ZodDefinition {
  readonly type?: string;
  readonly check?: string;
  readonly coerce?: boolean;
  readonly pattern?: unknown;
  readonly checks?: readonly unknown[];
  readonly items?: unknown;
  readonly options?: unknown;
  readonly shape?: Readonly<Record<string, unknown>>;
  readonly element?: unknown;
  readonly rest?: unknown;
  readonly catchall?: unknown;
  readonly valueType?: unknown;
  readonly innerType?: unknown;
  readonly in?: unknown;
}

/** Keywords that say what a value must be, beside its type and its parts. */
const CHECKS = (
  "pattern format minLength maxLength allOf " +
  "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minItems maxItems"
).split(" ");

/**
 * Options of the conversion to JSON Schema; undefined where it is no schema of zod. What JSON Schema has no word for, such as dates,
 * maps and what a transform makes, is anything to it.
 */
export function zodOptions(schema: StandardSchemaV1, side: Side): object | undefined {
  if (zodInternals(schema) === undefined) return undefined;
  return { override: (node: ZodNode) => loosen(node, side, schema), unrepresentable: "any" };
}

/** The members of a union; undefined where it is no union of zod. */
export function unionOptions(schema: unknown): readonly unknown[] | undefined {
  const { options } = definitionOf(schema);
  return Array.isArray(options) ? options : undefined;
}

/** The items of a tuple; undefined where it is no tuple of zod. */
export function tupleItems(schema: unknown): readonly unknown[] | undefined {
  const { items } = definitionOf(schema);
  return Array.isArray(items) ? items : undefined;
}

/** Whether a value may be left out. JSON Schema does not say that of the items of a tuple. */
export function isOptional(schema: unknown): boolean {
  // "optional" or "defaulted"; undefined where a value is needed.
  return zodInternals(schema)?.["optin"] !== undefined;
}

/** Whether the only argument may be: then it is `undefined`. */
export function mayBeLeftOut(schema: unknown): boolean {
  return isOptional(schema) || (zodInternals(schema) !== undefined && takesUndefined(schema));
}

/** Every value that JSON has, which `undefined` is not. */
const JSON_VALUE: JsonSchema = { type: ["null", "boolean", "number", "string", "array", "object"] };

export function orUndefined(item: unknown): JsonSchema {
  // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
  return { if: JSON_VALUE, then: item };
}

function loosen({ zodSchema, jsonSchema }: ZodNode, side: Side, whole: unknown): void {
  const definition = definitionOf(zodSchema);
  const drop = (keywords: readonly string[]) => {
    for (const keyword of keywords) delete jsonSchema[keyword];
  };
  if (side === "input") {
    if (takesAnything(zodSchema)) return drop(Object.keys(jsonSchema));
    // Bounds stay: each speaks of one type only, and coercion leaves values of that type as they are.
    if (definition.coerce === true) drop(["type"]);
    allowUndefined(definition, jsonSchema, zodSchema === whole);
  }
  // Of a tuple without items, which JSON Schema cannot say so.
  if (Array.isArray(jsonSchema["prefixItems"]) && jsonSchema["prefixItems"].length === 0) {
    drop(["prefixItems"]);
    jsonSchema["items"] ??= false;
  }
  const checks = [definition, ...(definition.checks ?? []).map(definitionOf)];
  if (checks.some(({ check }) => check === "overwrite")) drop(CHECKS);
  const hasFlags = checks.some(({ pattern }) => pattern instanceof RegExp && /[imsv]/.test(pattern.flags));
  if (hasFlags) drop(["pattern", "allOf"]);
}

/** Where a part takes `undefined`, which JSON Schema has no word for: as an item, as what a name stands for, or where that is left out. */
function allowUndefined(definition: ZodDefinition, jsonSchema: Record<string, unknown>, isWhole: boolean): void {
  const { shape, element, items, rest, catchall, valueType } = definition;
  const { required, prefixItems } = jsonSchema;
  if (Array.isArray(required)) {
    const isNeeded = (name: string) => !takesUndefined(shape?.[name] ?? valueType);
    jsonSchema["required"] = required.filter(isNeeded);
  }
  // Those of the tuple of all arguments are seen to where that is made a list.
  if (Array.isArray(prefixItems) && Array.isArray(items) && !isWhole) {
    jsonSchema["prefixItems"] = prefixItems.map((item, index) =>
      takesUndefined(items[index]) ? orUndefined(item) : item,
    );
  }
  const loosenRest = (keyword: string, schema: unknown) => {
    if (jsonSchema[keyword] !== undefined && takesUndefined(schema))
      jsonSchema[keyword] = orUndefined(jsonSchema[keyword]);
  };
  loosenRest("items", element ?? rest);
  loosenRest("additionalProperties", catchall ?? valueType);
}

/** By asking it, since defaults, coercion and unions decide that together. */
function takesUndefined(schema: unknown): boolean {
  if (schema === undefined || schema === null) return false;
  if (takesAnything(schema)) return true;
  try {
    const result = (schema as StandardSchemaV1)["~standard"].validate(undefined);
    if (!(result instanceof Promise)) return result.issues === undefined;
    // Only the worker can wait for it.
    result.catch(() => undefined);
    return true;
  } catch {
    return false;
  }
}

/** Whether it makes something of whatever it is given: by `z.preprocess` or `catch`. */
function takesAnything(schema: unknown): boolean {
  const { type, innerType, in: first } = definitionOf(schema);
  if (type === "catch" || type === "transform") return true;
  const inner = type === "pipe" ? first : innerType;
  return inner !== undefined && takesAnything(inner);
}

function definitionOf(schema: unknown): ZodDefinition {
  return (zodInternals(schema)?.["def"] ?? {}) as ZodDefinition;
}

function zodInternals(schema: unknown): Record<string, unknown> | undefined {
  return (schema as { _zod?: Record<string, unknown> } | undefined)?._zod;
}
