/** Finds the Multinode object and the functions that main exports. Used by `deploy` and by the worker. */
import { DefinitionError } from "../errors.js";
import { FUNCTION_NAME_RULE, isFunctionName } from "../protocol/names.js";
import { type DefinedFunction, isDefinedFunction } from "./function.js";
import { isMultinode, type Multinode } from "./multinode.js";

/**
 * Answers the functions by name, in the order of the exports. Exactly one Multinode object must be exported, and each of
 * its functions; a function's name is its option `name`, or else the name of its export. Throws a DefinitionError that
 * says which export is wrong and what to change.
 */
export function discover(moduleNamespace: object): ReadonlyMap<string, DefinedFunction> {
  const exports = exportsOf(moduleNamespace);
  const multinode = theMultinode(exports);
  const functions = new Map<string, DefinedFunction>();
  const exportOf = new Map<DefinedFunction, string>();
  for (const [exportName, value] of exports) {
    if (!isDefinedFunction(value)) continue;
    if (!multinode.functions.includes(value)) {
      throw new DefinitionError(
        `main exports the function "${exportName}", which belongs to another Multinode object; make it with the one that main exports`,
      );
    }
    if (exportOf.has(value)) continue; // The same function under a second name: the first one counts.
    exportOf.set(value, exportName);
    const name = value.optionName ?? exportName;
    checkName(name, exportName, value);
    const other = functions.get(name);
    if (other !== undefined) {
      throw new DefinitionError(
        `main exports two functions named "${name}" ("${exportOf.get(other)}" and "${exportName}"); give one of them another name`,
      );
    }
    value.bindName(name);
    functions.set(name, value);
  }
  checkAllExported(multinode, exportOf);
  return functions;
}

/** A CommonJS main becomes an ES module when it is bundled, and what it exported that module's `default`. */
function exportsOf(moduleNamespace: object): [string, unknown][] {
  const named: [string, unknown][] = Object.entries(moduleNamespace);
  const inner: unknown = Reflect.get(moduleNamespace, "default");
  if (isPlainObject(inner) && !named.some(([, value]) => isMultinode(value))) return Object.entries(inner);
  // Last: what is exported as default too has its name from the other export.
  return named.toSorted(([a], [b]) => Number(a === "default") - Number(b === "default"));
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function theMultinode(exports: readonly [string, unknown][]): Multinode {
  const found = exports.filter(([, value]) => isMultinode(value));
  const distinct = new Set(found.map(([, value]) => value));
  if (distinct.size > 1) {
    const names = found.map(([name]) => `"${name}"`).join(" and ");
    throw new DefinitionError(
      `main exports ${distinct.size} Multinode objects (${names}); export exactly one, and make every function with it`,
    );
  }
  const [multinode] = distinct;
  if (!isMultinode(multinode)) {
    throw new DefinitionError("main exports no Multinode object; add: export const mn = new Multinode()");
  }
  return multinode;
}

function checkName(name: string, exportName: string, value: DefinedFunction): void {
  if (name === "default" && value.optionName === undefined) {
    throw new DefinitionError(
      "main exports a function as default; give it a name: export const <name> = mn.function(...), or the option name",
    );
  }
  if (!isFunctionName(name)) {
    throw new DefinitionError(
      `the export "${exportName}" has the name "${name}", which is no function name; a name is ${FUNCTION_NAME_RULE}; rename the export, or use the option name`,
    );
  }
}

function checkAllExported(multinode: Multinode, exportOf: ReadonlyMap<DefinedFunction, string>): void {
  const missing = multinode.functions.filter((made) => !exportOf.has(made));
  if (missing.length === 0) return;
  const names = missing.map(
    (made) => made.optionName ?? (made.handler.name === "" ? "one without a name" : made.handler.name),
  );
  throw new DefinitionError(
    `main makes ${missing.length === 1 ? "a function that it does" : "functions that it does"} not export (${names.join(", ")}); write: export const <name> = mn.function(...)`,
  );
}
