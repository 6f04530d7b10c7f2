/** Objects whose content no property shows, so that they would arrive as `{}`. */

/**
 * What to say of such an object, or undefined where it is one to send.
 *
 * @param value has no enumerable properties of its own
 */
export function hollowness(value: object): string | undefined {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return undefined;
  if ("next" in value && (Symbol.iterator in value || Symbol.asyncIterator in value)) {
    return "it is an iterator; send an array of its values";
  }
  return undefined;
}
