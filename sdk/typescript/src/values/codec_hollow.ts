/**
 * Objects whose content no property shows, so that they would arrive as `{}`: those that JavaScript and Node.js bring along. An
 * object of a user's own class is taken for what its properties are, also where it has none.
 */

/** What to send instead, by what `Symbol.toStringTag` says. */
const HINTS: ReadonlyMap<string, string> = new Map([
  ["Response", "send what it holds, such as `await response.json()`"],
  ["Request", "send what it holds, such as its url"],
  ["Headers", "send an array of its entries"],
  ["URLSearchParams", "send its text"],
  ["FormData", "send an array of its entries"],
  ["Blob", "send its bytes"],
  ["File", "send its name and its bytes"],
  ["ReadableStream", "send what it delivers"],
  ["AbortSignal", "send whether it is aborted"],
]);

/**
 * What to say of such an object, or undefined where it is one to send.
 *
 * @param value has no enumerable properties of its own, and no `toJSON`
 */
export function hollowness(value: object): string | undefined {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return undefined;
  if ("next" in value && (Symbol.iterator in value || Symbol.asyncIterator in value)) {
    return "it is an iterator; send an array of its values";
  }
  const tag: unknown = Reflect.get(value, Symbol.toStringTag);
  const name = typeof tag === "string" ? tag : globalClassOf(value);
  if (name === undefined) return undefined;
  return `it is an object of the class ${name}, which has no properties to send; ${HINTS.get(name) ?? "send what you need of it"}`;
}

/** Name of the global class that an object is an instance of. */
function globalClassOf(value: object): string | undefined {
  for (
    let prototype: unknown = Object.getPrototypeOf(value);
    typeof prototype === "object" && prototype !== null && prototype !== Object.prototype;
    prototype = Object.getPrototypeOf(prototype)
  ) {
    const { constructor } = prototype;
    if (typeof constructor !== "function" || constructor === Object) continue;
    if (Reflect.get(globalThis, constructor.name) === constructor) return constructor.name;
  }
  return undefined;
}
