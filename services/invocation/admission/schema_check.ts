/** What is wrong with a value, by its JSON Schema. */
import type { ErrorObject, ValidateFunction } from "ajv/dist/2020.js";
import { show } from "../../platform/rpc/validation.js";

/** Most violations that are told. */
const MOST = 20;

export function violationsOf(
  check: ValidateFunction,
  value: unknown,
  name: string,
): { field: string; description: string }[] {
  if (check(value)) return [];
  // Two keywords can say the same, as the two do that bound a tuple.
  const violations = new Map<string, { field: string; description: string }>();
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
