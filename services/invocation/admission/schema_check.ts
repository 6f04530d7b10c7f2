/** What is wrong with a value, by its JSON Schema. */
import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import { Ajv2020, type ErrorObject, type Schema, type ValidateFunction } from "ajv/dist/2020.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { boundedChecks } from "../../platform/bounded_checks.js";
import { show } from "../../platform/rpc/validation.js";
import { patternOf } from "../../platform/schema_pattern.js";
import { Turns } from "../../platform/turns.js";

/** Most violations that are told. */
const MOST = 20;

/** Keywords by which a short value can take for ever. */
const COSTLY = /"(pattern|patternProperties|\$ref|\$dynamicRef|\$recursiveRef|uniqueItems)"/;

/**
 * Bytes of the schema times bytes of the value up to which a check has no bound, which itself takes longer than most of them:
 * without those keywords each part of the schema meets each part of the value once at most, and can find it wrong.
 */
const MOST_UNBOUNDED = 1_000_000;

/** Values of one request whose check is given up: after these the rest is refused, since each holds up everybody. */
const MOST_ENDLESS = 10;

export interface ValueCheck {
  readonly validate: ValidateFunction;
  readonly isCostly: boolean;
  readonly schemaBytes: number;
  /** Of one that could not be compiled, which the machine may have been too busy for: when to try again, as `performance.now()`. */
  readonly retryAt: number;
}

export interface Violation {
  readonly field: string;
  readonly description: string;
}

/** A value to be checked, and what it is called. */
export interface CheckedValue {
  readonly check: ValueCheck;
  readonly value: unknown;
  /** Of the value as it was encoded. */
  readonly valueBytes: number;
  readonly name: string;
}

/** Of the bound that the registry has: here more is compiled for each keyword. */
const COMPILE_FACTOR = 4;

/** Checks that have run under a bound. */
const tried = new WeakSet<ValueCheck>();

/** Checks of which one took too long, and until when that is held against them, by the clock that does not jump. */
const slow = new WeakMap<ValueCheck, number>();
/** Of inputs there is one of these at a time, of all requests, and a pause after each: others have most of the processor. */
const slowTurns = new Turns(1_000, "checks of inputs by schemas that are slow");
const PAUSE_FACTOR = 3;

export function compileCheck(schema: string): ValueCheck {
  // Without optimizing, a large schema compiles ten times faster and checks about as fast. Inlined, what is referred to often
  // would be compiled as often.
  const options = {
    strict: false,
    allErrors: true,
    inlineRefs: false,
    logger: false,
    // Of a part of 1 no multiple is exact.
    multipleOfPrecision: 9,
    code: { optimize: false, regExp: patternOf },
  } as const;
  const parsed: Schema = JSON.parse(schema);
  const { validate, isBroken } = compiled(() => new Ajv2020(options).compile(parsed));
  return {
    validate,
    retryAt: isBroken ? performance.now() + LIMITS.slowSchemaMs : Number.POSITIVE_INFINITY,
    isCostly: COSTLY.test(JSON.stringify(parsed)), // without the escapes that keywords can be written with
    schemaBytes: Buffer.byteLength(schema),
  };
}

/** The registry has compiled it, but with other options, on another stack, and in another hour: it may fail all the same. */
function compiled(compile: () => ValidateFunction): { validate: ValidateFunction; isBroken: boolean } {
  const fails = (error: unknown) => {
    const fail = () => {
      throw error;
    };
    return { validate: fail as unknown as ValidateFunction, isBroken: true };
  };
  const boundMs = COMPILE_FACTOR * LIMITS.schemaCompileMs;
  try {
    const [validate] = boundedChecks([compile], boundMs);
    if (validate === undefined) return fails(new Error(`it takes longer than ${boundMs} ms to compile`));
    return { validate, isBroken: false };
  } catch (error) {
    return fails(error);
  }
}

/** None: it is valid. */
export function violationsOf(checked: CheckedValue): Violation[] {
  if (areCheap([checked])) return violationsIn(checked);
  for (;;) {
    const [result] = boundedViolations([checked]);
    if (result !== undefined) return result.violations;
  }
}

/** The same for many values, with pauses for others where checks take long. */
export async function violationsOfEach(values: readonly CheckedValue[], signal: AbortSignal): Promise<Violation[][]> {
  if (areCheap(values)) return values.map(violationsIn);
  const found: Violation[][] = [];
  for (let endless = 0; found.length < values.length; ) {
    signal.throwIfAborted();
    if (endless >= MOST_ENDLESS) return [...found, ...values.slice(found.length).map(({ name }) => [unchecked(name)])];
    const rest = alike(values.slice(found.length));
    const part = rest.some(isSlow) ? await slowTurns.run(() => slowly(rest), signal) : boundedViolations(rest);
    found.push(...part.map(({ violations }) => violations));
    endless += part.filter(({ isEndless }) => isEndless).length;
    await nextTurn();
  }
  return found;
}

/** Whether they need no bound, all of them together. */
function areCheap(values: readonly CheckedValue[]): boolean {
  let work = 0;
  for (const { check, valueBytes } of values) {
    if (check.isCostly) return false;
    work += check.schemaBytes * valueBytes;
  }
  return work <= MOST_UNBOUNDED;
}

interface Checked {
  readonly violations: Violation[];
  readonly isEndless: boolean;
}

function isSlow({ check }: CheckedValue): boolean {
  return performance.now() < (slow.get(check) ?? 0);
}

/** The first of them, up to one by a schema that is slow where the first is not, or the other way round: each kind has its bound. */
function alike(values: readonly CheckedValue[]): readonly CheckedValue[] {
  const [first] = values;
  const end = first === undefined ? -1 : values.findIndex((value) => isSlow(value) !== isSlow(first));
  return end < 0 ? values : values.slice(0, end);
}

async function slowly(values: readonly CheckedValue[]): Promise<Checked[]> {
  const beganAt = performance.now();
  const checked = boundedViolations(values);
  await delay(PAUSE_FACTOR * (performance.now() - beganAt));
  return checked;
}

/** Of the first values. None: the first is to be checked again. */
function boundedViolations(values: readonly CheckedValue[]): Checked[] {
  const found = [];
  const boundMs = values.some(isSlow) ? LIMITS.slowSchemaCheckMs : LIMITS.schemaCheckMs;
  const results = boundedChecks(
    values.map((checked) => () => violationsIn(checked)),
    boundMs,
  );
  for (const [index, violations] of results.entries()) {
    const checked = values[index];
    if (checked === undefined) break;
    const isFirst = !tried.has(checked.check);
    tried.add(checked.check);
    // V8 compiles a check when it first runs, which takes as long as it may where its schema is large.
    if (violations === undefined && isFirst) break;
    if (violations === undefined) slow.set(checked.check, performance.now() + LIMITS.slowSchemaMs);
    found.push({ violations: violations ?? [tooLong(checked.name, boundMs)], isEndless: violations === undefined });
  }
  return found;
}

function tooLong(name: string, boundMs: number): Violation {
  return { field: name, description: `takes longer than ${boundMs} ms to check against its schema` };
}

function unchecked(name: string): Violation {
  const description = `was not checked, since ${MOST_ENDLESS} values of this request took too long`;
  return { field: name, description };
}

function violationsIn({ check: { validate: check }, value, name }: CheckedValue): Violation[] {
  try {
    if (check(value)) return [];
  } catch (error) {
    // By references that lead in a circle, or down a deep value; by a part named `valueOf`, which is called where two are compared.
    // Whatever it is, it is about this value alone, and others are stored with it.
    const problem = error instanceof Error ? error.message : String(error);
    return [{ field: name, description: `cannot be checked against its schema: ${problem}` }];
  }
  // Two keywords can say the same, as the two do that bound a tuple.
  const violations = new Map<string, Violation>();
  const errors = check.errors ?? [];
  check.errors = null; // They may be many, and would be kept until the next check.
  for (const error of errors) {
    if (error.keyword === "if") continue; // says only that its "then" or "else" is violated, which is told itself
    const violation = { field: name + pathOf(error.instancePath), description: describe(error, value) };
    violations.set(JSON.stringify(violation), violation);
    if (violations.size === MOST) break;
  }
  return [...violations.values()];
}

/** "/0/name" as "[0].name". */
function pathOf(pointer: string): string {
  return pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .map((part) => (/^\d+$/.test(part) ? `[${part}]` : `.${part}`))
    .join("");
}

function describe(error: ErrorObject, root: unknown): string {
  const message = error.message ?? "is not valid";
  const value = valueAt(root, error.instancePath);
  const isShown = value !== undefined && (typeof value !== "object" || value === null || Array.isArray(value));
  return isShown ? `${show(value)} ${message}` : message;
}

function valueAt(root: unknown, pointer: string): unknown {
  let value = root;
  for (const part of pointer.split("/").slice(1)) {
    if (typeof value !== "object" || value === null) return undefined;
    value = Reflect.get(value, part.replaceAll("~1", "/").replaceAll("~0", "~"));
  }
  return value;
}
