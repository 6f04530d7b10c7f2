/** Checks that a text is a JSON Schema (draft 2020-12) that values can be checked against. */
import { setTimeout as delay } from "node:timers/promises";
import { Ajv2020 } from "ajv/dist/2020.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { boundedChecks, cpuMs } from "../platform/bounded_checks.js";
import { patternOf } from "../platform/schema_pattern.js";
import { Turns } from "../platform/turns.js";

/** Answers what is wrong with the text, as a predicate of it, or undefined. */
export type SchemaCheck = (text: string) => Promise<string | undefined>;

/** One at a time of all requests, and a pause after what took long: others have most of the processor. */
const turns = new Turns(5_000, "checks of schemas");
const LONG_MS = 10;
const PAUSE_FACTOR = 2;

/**
 * A check for one request: functions of a version often share schemas, so each text is compiled once.
 *
 * @param versionMs what all of them may take of the processor
 */
export function createSchemaCheck(signal: AbortSignal, versionMs: number = LIMITS.versionCompileMs): SchemaCheck {
  const checked = new Map<string, Promise<string | undefined>>();
  let ajv = newAjv();
  let leftMs = versionMs;
  /** Where it is interrupted in the middle of something, what it knows is not whole. */
  let isInterrupted = false;
  const checkWhole = (text: string) => {
    if (isInterrupted) ajv = newAjv();
    isInterrupted = true;
    const problem = check(ajv, text);
    isInterrupted = false;
    return { problem };
  };
  const checkNext = async (text: string) => {
    if (leftMs <= 0) return `was not compiled: those before it took ${versionMs} ms`;
    const beganAt = performance.now();
    const cpuBefore = cpuMs();
    const [result] = boundedChecks([() => checkWhole(text)], LIMITS.schemaCompileMs);
    const tookMs = performance.now() - beganAt;
    leftMs -= cpuMs() - cpuBefore;
    if (tookMs > LONG_MS) await delay(PAUSE_FACTOR * tookMs);
    return result === undefined ? `takes longer than ${LIMITS.schemaCompileMs} ms to compile` : result.problem;
  };
  return (text) => {
    const known = checked.get(text);
    if (known !== undefined) return known;
    const result = turns.run(() => checkNext(text), signal);
    checked.set(text, result);
    return result;
  };
}

function newAjv(): Ajv2020 {
  // Without `optimize`, which makes a large schema ten times as slow to compile, and `inlineRefs`, which compiles what is
  // referred to as often as it is.
  const options = { strict: false, validateFormats: false, inlineRefs: false, logger: false } as const;
  return new Ajv2020({ ...options, code: { optimize: false, regExp: patternOf } });
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
    if (error instanceof RangeError) return "is not a JSON Schema that can be compiled: it is too large, or too deep";
    return `is not a JSON Schema: ${error instanceof Error ? error.message : "it cannot be compiled"}`;
  } finally {
    ajv.removeSchema(); // Two functions may use the same $id.
  }
}
