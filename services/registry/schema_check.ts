/** Checks that a text is a JSON Schema (draft 2020-12) that values can be checked against. */
import { setImmediate } from "node:timers/promises";
import { Ajv2020 } from "ajv/dist/2020.js";
import { patternOf } from "../platform/schema_pattern.js";

/** Answers what is wrong with the text, as a predicate of it, or undefined. */
export type SchemaCheck = (text: string) => Promise<string | undefined>;

/** How long schemas are compiled without a pause: many of them take seconds, and others wait for this process too. */
const TURN_MS = 10;

/** A check for one request: functions of a version often share schemas, so each text is compiled once. */
export function createSchemaCheck(): SchemaCheck {
  // Without `optimize`, which makes a large schema ten times as slow to compile, and `inlineRefs`, which compiles what is
  // referred to as often as it is.
  const options = { strict: false, validateFormats: false, inlineRefs: false, logger: false } as const;
  const ajv = new Ajv2020({ ...options, code: { optimize: false, regExp: patternOf } });
  const checked = new Map<string, Promise<string | undefined>>();
  let previous: Promise<unknown> = Promise.resolve();
  let turnBeganAt = performance.now();
  return (text) => {
    const known = checked.get(text);
    if (known !== undefined) return known;
    const result = previous.then(async () => {
      if (performance.now() - turnBeganAt > TURN_MS) {
        await setImmediate();
        turnBeganAt = performance.now();
      }
      return check(ajv, text);
    });
    checked.set(text, result);
    previous = result;
    return result;
  };
}

function check(ajv: Ajv2020, text: string): string | undefined {
  let schema: unknown;
  try {
    schema = JSON.parse(text);
  } catch {
    return "is not JSON";
  }
  if (typeof schema !== "boolean" && (typeof schema !== "object" || schema === null || Array.isArray(schema))) {
    return "is not a JSON Schema: it must be an object or a boolean";
  }
  try {
    const validate = ajv.compile(schema);
    // Its validator answers a promise, which is true whatever the value.
    if ("$async" in validate) return "is not a JSON Schema: $async is not part of it";
    return undefined;
  } catch (error) {
    return `is not a JSON Schema: ${error instanceof Error ? error.message : "it cannot be compiled"}`;
  } finally {
    ajv.removeSchema(); // Two functions may use the same $id.
  }
}
