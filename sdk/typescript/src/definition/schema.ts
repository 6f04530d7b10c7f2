/**
 * Schemas of a function's input and output: any Standard Schema (https://standardschema.dev) that has a JSON Schema form.
 * Zod from 4.2 on is one. Values are parsed by the schema itself, in the worker, so defaults and transforms apply; the
 * JSON Schema form is what the server checks before anything is queued.
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import {
  FunctionInputIsInvalid,
  FunctionOutputIsInvalid,
  type MultinodeError,
  type MultinodeErrorDetails,
  ParameterValidationError,
} from "../errors.js";
import { LIMITS } from "../protocol/limits.js";
import {
  isOptional,
  type JsonSchema,
  mayBeLeftOut,
  orUndefined,
  tupleItems,
  unionOptions,
  zodOptions,
} from "./schema_zod.js";

export type Side = "input" | "output";

/** What a schema describes, ready to be used. `jsonSchema` is JSON text, empty where there is no schema. */
export interface ArgumentsSchema {
  readonly jsonSchema: string;
  /** The arguments as the handler gets them. Throws FunctionInputIsInvalid. */
  parse(args: readonly unknown[]): Promise<unknown[]>;
}

export interface ResultSchema {
  readonly jsonSchema: string;
  /** The result as it is recorded. Throws FunctionOutputIsInvalid. */
  parse(result: unknown): Promise<unknown>;
}

const NO_INPUT: ArgumentsSchema = { jsonSchema: "", parse: async (args) => [...args] };
const NO_OUTPUT: ResultSchema = { jsonSchema: "", parse: async (result) => result };

/** A tuple, or a union of some, describes the whole list of arguments; any other schema describes the only one. */
export function argumentsSchema(schema: StandardSchemaV1 | undefined): ArgumentsSchema {
  if (schema === undefined) return NO_INPUT;
  const single = jsonSchemaOf(schema, "input");
  const tuple = asTuple(schema, single);
  const isTuple = tuple !== undefined;
  const list = tuple ?? listOfOne(schema, single);
  return {
    jsonSchema: serialize(list, "input"),
    async parse(args) {
      if (isTuple) {
        const parsed = await validate(schema, args, "arguments", FunctionInputIsInvalid);
        return Array.isArray(parsed) ? parsed : [parsed];
      }
      return [await validate(schema, args[0], "arguments[0]", FunctionInputIsInvalid), ...args.slice(1)];
    },
  };
}

export function resultSchema(schema: StandardSchemaV1 | undefined): ResultSchema {
  if (schema === undefined) return NO_OUTPUT;
  return {
    jsonSchema: serialize(jsonSchemaOf(schema, "output"), "output"),
    parse: (result) => validate(schema, result, "result", FunctionOutputIsInvalid),
  };
}

/** Unions in unions that are looked through for tuples. */
const MOST_UNIONS = 5;

function vendorOf(schema: unknown): string | undefined {
  return (schema as Partial<StandardSchemaV1> | undefined)?.["~standard"]?.vendor;
}

/**
 * Undefined where it is no tuple.
 *
 * @param depth of unions: one may be a member of itself
 */
function asTuple(schema: unknown, described: JsonSchema, root = described, depth = 0): JsonSchema | undefined {
  const json = resolved(described, root);
  for (const keyword of ["anyOf", "oneOf"]) {
    const members = json[keyword];
    if (!Array.isArray(members)) continue;
    if (depth >= MOST_UNIONS) return undefined;
    const options = unionOptions(schema);
    const tuples = members.map((member: JsonSchema, index) => asTuple(options?.[index], member, root, depth + 1));
    return tuples.every((tuple) => tuple !== undefined) ? { ...json, type: "array", [keyword]: tuples } : undefined;
  }
  const { prefixItems } = json;
  if (Array.isArray(prefixItems)) return closedTuple(schema, json, prefixItems);
  // A tuple without items; with a rest it is, as its type says, a list of any length, which is one argument.
  return tupleItems(schema)?.length === 0 && json["items"] === false ? json : undefined;
}

/** A schema with a name of its own is described as a reference to that, in the root. */
function resolved(json: JsonSchema, root: JsonSchema): JsonSchema {
  const { $ref: reference, ...rest } = json;
  if (typeof reference !== "string" || !reference.startsWith("#/$defs/")) return json;
  const named = (root["$defs"] as Readonly<Record<string, JsonSchema>> | undefined)?.[
    reference.slice("#/$defs/".length)
  ];
  return { ...rest, ...named };
}

function closedTuple(schema: unknown, tuple: JsonSchema, described: readonly JsonSchema[]): JsonSchema {
  const items = tupleItems(schema);
  const hasRest = "items" in tuple;
  const required = items === undefined ? undefined : items.findLastIndex((item) => !isOptional(item)) + 1;
  const { minItems, ...others } = tuple;
  // Valibot counts those that may be left out, too: how many there are it checks itself, in the worker.
  const least = vendorOf(schema) === "valibot" ? undefined : (minItems ?? required);
  return {
    ...others,
    // An optional argument before others is left out as `undefined`; after the last one given nothing is sent.
    prefixItems: described.map((item, index) =>
      (hasRest || index < described.length - 1) && isOptional(items?.[index]) ? orUndefined(item) : item,
    ),
    ...(hasRest ? {} : { items: false }),
    ...(least === undefined ? {} : { minItems: least }),
  };
}

function listOfOne(schema: StandardSchemaV1, single: JsonSchema): JsonSchema {
  const { $schema, ...rest } = single;
  return {
    ...($schema === undefined ? {} : { $schema }),
    type: "array",
    // References count from the root, which is now the list; a schema with an $id is a root of its own.
    prefixItems: ["$id" in rest ? rest : withReferencesUnder("#/prefixItems/0", rest)],
    items: false,
    minItems: mayBeLeftOut(schema) ? 0 : 1,
  };
}

/** Rewrites "#" and "#/$defs/a" for a schema that becomes a part of another. */
function withReferencesUnder(place: string, schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map((item) => withReferencesUnder(place, item));
  if (typeof schema !== "object" || schema === null) return schema;
  return Object.fromEntries(
    Object.entries(schema).map(([key, value]: [string, unknown]) => {
      if (key !== "$ref" || typeof value !== "string") return [key, withReferencesUnder(place, value)];
      return [key, value === "#" || value.startsWith("#/") ? `${place}${value.slice(1)}` : value];
    }),
  );
}

function jsonSchemaOf(schema: StandardSchemaV1, side: Side): JsonSchema {
  if (!isStandardSchema(schema)) {
    return refuse(side, "is no schema; pass a zod schema, or another Standard Schema (https://standardschema.dev)");
  }
  try {
    const made = convertToJsonSchema(schema, side);
    if (typeof made === "object" && made !== null) return made as JsonSchema;
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    return refuse(
      side,
      `has no JSON Schema form (${problem}); use types that JSON has` +
        (side === "output" ? ", and do transforms in the function" : ""),
    );
  }
  const { vendor } = schema["~standard"];
  return refuse(side, `cannot tell its JSON Schema; ${JSON_SCHEMA_HINTS[vendor] ?? `its vendor is "${vendor}"`}`);
}

/** How a schema gets a JSON Schema form, by the vendor that it names. */
const JSON_SCHEMA_HINTS: Readonly<Record<string, string>> = {
  zod: "use zod 4.2 or later",
  valibot: "wrap it in toStandardJsonSchema of the package @valibot/to-json-schema",
};

/** What has no JSON Schema form is left out of it, and checked in the worker. For zod see `zodOptions`. */
const LIBRARY_OPTIONS: Readonly<Record<string, object>> = { valibot: { errorMode: "ignore" } };

function convertToJsonSchema(schema: StandardSchemaV1, side: Side): unknown {
  const standard = schema["~standard"] as {
    jsonSchema?: Partial<Record<Side, (options: { target: string; libraryOptions?: object | undefined }) => unknown>>;
  };
  const convert = standard.jsonSchema?.[side];
  const libraryOptions = zodOptions(schema, side) ?? LIBRARY_OPTIONS[schema["~standard"].vendor];
  if (convert !== undefined) return convert({ target: "draft-2020-12", libraryOptions });
  if ("toJSONSchema" in schema && typeof schema.toJSONSchema === "function") {
    return schema.toJSONSchema({ io: side, target: "draft-2020-12", ...libraryOptions });
  }
  return undefined;
}

function isStandardSchema(schema: unknown): schema is StandardSchemaV1 {
  if ((typeof schema !== "object" && typeof schema !== "function") || schema === null) return false;
  const standard = "~standard" in schema ? schema["~standard"] : undefined;
  return typeof standard === "object" && standard !== null && "validate" in standard;
}

function serialize(schema: JsonSchema, side: Side): string {
  const text = JSON.stringify(schema);
  if (Buffer.byteLength(text) > LIMITS.schemaBytes) {
    return refuse(side, `is ${Buffer.byteLength(text)} bytes as JSON Schema; the limit is ${LIMITS.schemaBytes} bytes`);
  }
  return text;
}

function refuse(side: Side, problem: string): never {
  throw new ParameterValidationError(`bad function option: ${side}: the schema ${problem}`, {
    violations: [{ field: side, description: `the schema ${problem}` }],
  });
}

async function validate(
  schema: StandardSchemaV1,
  value: unknown,
  root: string,
  ErrorClass: new (message: string, details: MultinodeErrorDetails) => MultinodeError,
): Promise<unknown> {
  const outcome = await schema["~standard"].validate(value);
  if (outcome.issues === undefined) return outcome.value;
  const violations = outcome.issues.map((issue) => ({
    field: fieldPath(root, issue.path),
    description: issue.message,
  }));
  const text = violations.map(({ field, description }) => `${field}: ${description}`).join("; ");
  throw new ErrorClass(text, { violations });
}

function fieldPath(root: string, path: StandardSchemaV1.Issue["path"]): string {
  let text = root;
  for (const segment of path ?? []) {
    const key = typeof segment === "object" ? segment.key : segment;
    text += typeof key === "number" ? `[${key}]` : `.${String(key)}`;
  }
  return text;
}
