/** What is wrong with a value, by its JSON Schema. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { show } from "../../platform/rpc/validation.js";
import { boundedChecks } from "./bounded_checks.js";

/** Most violations that are told. */
const MOST = 20;

/** Keywords by which a short value can take for ever. */
const COSTLY = /"(pattern|patternProperties|\$ref|\$dynamicRef|uniqueItems)"/;

export interface ValueCheck {
  readonly validate: ValidateFunction;
  readonly isCostly: boolean;
}

export interface Violation {
  readonly field: string;
  readonly description: string;
}

/** A value to be checked, and what it is called. */
export interface CheckedValue {
  readonly check: ValueCheck;
  readonly value: unknown;
  readonly name: string;
}

/** Undefined where there is no schema. */
export function compileCheck(schema: string): ValueCheck | undefined {
  if (schema === "") return undefined;
  // Without optimizing, a large schema compiles ten times faster and checks about as fast.
  const ajv = new Ajv2020({ strict: false, allErrors: true, logger: false, code: { optimize: false } });
  return { validate: ajv.compile(JSON.parse(schema)), isCostly: COSTLY.test(schema) };
}

/** None: it is valid. */
export function violationsOf(checked: CheckedValue): Violation[] {
  return checked.check.isCostly ? (boundedViolations([checked])[0] ?? []) : violationsIn(checked);
}

/** The same for many values, with pauses for others where checks take long. */
export async function violationsOfEach(values: readonly CheckedValue[]): Promise<Violation[][]> {
  const costly = values.filter(({ check }) => check.isCostly);
  const found: Violation[][] = [];
  while (found.length < costly.length) {
    if (found.length > 0) await nextTurn();
    found.push(...boundedViolations(costly.slice(found.length)));
  }
  const ofCostly = new Map(costly.map((checked, index) => [checked, found[index]]));
  return values.map((checked) => ofCostly.get(checked) ?? violationsIn(checked));
}

/** Of the first values, at least one. */
function boundedViolations(values: readonly CheckedValue[]): Violation[][] {
  const results = boundedChecks(values.map((checked) => () => violationsIn(checked)));
  return results.map((violations, index) => violations ?? [tooLong(values[index]?.name ?? "")]);
}

function tooLong(name: string): Violation {
  return { field: name, description: `takes longer than ${LIMITS.schemaCheckMs} ms to check against its schema` };
}

function violationsIn({ check: { validate: check }, value, name }: CheckedValue): Violation[] {
  if (check(value)) return [];
  // Two keywords can say the same, as the two do that bound a tuple.
  const violations = new Map<string, Violation>();
  for (const error of check.errors ?? []) {
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
