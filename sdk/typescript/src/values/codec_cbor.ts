/**
 * The CBOR half of the codec. Tags, all of them registered at IANA:
 *
 *     1        Date: seconds since 1970, with a fraction for milliseconds; NaN for an invalid date
 *     1001     Date that a fraction of a float cannot carry to the millisecond: {1: seconds, -3: milliseconds}
 *     2, 3     bigint
 *     27       Error: [class name, {name, message, stack?, cause?, errors?, ...properties of its own}]
 *     64 - 87  typed arrays (RFC 8746), written in little-endian order; a Uint8Array is a plain byte string
 *     258      Set: an array
 *     259      Map: a CBOR map
 *     273      a string with lone surrogates (WTF-8)
 *
 * The value is first turned into one that holds nothing but arrays, Maps, tags and primitives, so that no `toJSON`, no
 * `toCBOR` and no registered class of the library has a say in it.
 */
import { types } from "node:util";
import { type DecodeOptions, decode, type EncodeOptions, encode, Tag, type TagDecoder, type TagNumber } from "cbor2";
import { LIMITS } from "../protocol/limits.js";
import { ValueIsUnsupportedError } from "./codec_errors.js";
import { hollowness } from "./codec_hollow.js";
import { TYPED_ARRAY_TAGS, typedArrayFromTag, typedArrayToTag } from "./codec_typed_arrays.js";

const TAG_DATE = 1;
const TAG_POSITIVE_BIGINT = 2;
const TAG_NEGATIVE_BIGINT = 3;
const TAG_OBJECT = 27;
const TAG_SET = 258;
const TAG_MAP = 259;
const TAG_WTF8 = 273;
const TAG_EXTENDED_TIME = 1001;
/** Keys of an extended time: whole seconds, and milliseconds beside them. */
const TIME_SECONDS = 1;
const TIME_MILLISECONDS = -3;

const ENCODE_OPTIONS: EncodeOptions = { collapseBigInts: false, wtf8: true, ignoreOriginalEncoding: true };

const ERROR_CLASSES: ReadonlyMap<string, ErrorConstructor> = new Map(
  [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError].map((type) => [type.name, type]),
);

/** Written of every error, or where it has them, whether they are enumerable or not. */
const ERROR_PROPERTIES: ReadonlySet<string> = new Set(["name", "message", "stack", "cause"]);

/** Encodes any supported value. Throws ValueIsUnsupportedError. */
export function encodeCbor(value: unknown): Buffer {
  const bytes = encode(new Flattening().flatten(value, ""), ENCODE_OPTIONS);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Decodes one value. Throws where the bytes are not CBOR, or hold a tag that is not listed above. */
export function decodeCbor(data: Uint8Array): unknown {
  // A map is an object where all of its keys are strings. A Map (tag 259) is made from the same entries, whose order an
  // object would not keep.
  const entriesOf = new WeakMap<object, (readonly [unknown, unknown])[]>();
  const tags = new Map<TagNumber, TagDecoder>(DECODERS);
  tags.set(TAG_MAP, ({ contents }) => new Map(entriesOf.get(contents as object) ?? fail("tag 259 must hold a map")));
  const options: DecodeOptions = {
    ignoreGlobalTags: true,
    maxDepth: 4 * LIMITS.valueDepth,
    tags: new RefusingMap(tags),
    createObject: (triples) => {
      const entries = triples.map(([key, value]) => [owned(key), owned(value)] as const);
      const made = entries.every(([key]) => typeof key === "string") ? Object.fromEntries(entries) : new Map(entries);
      entriesOf.set(made, entries);
      return made;
    },
  };
  return owned(decode(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), options));
}

/**
 * Gives bytes memory of their own: else they lie in the message that they came with, together with those of others, and whoever
 * transfers or keeps some does so with all. Those in objects have it from when the object was made.
 */
function owned(value: unknown): unknown {
  if (value instanceof Uint8Array) return value.slice();
  if (!Array.isArray(value)) return value;
  for (const [index, item] of value.entries()) value[index] = owned(item);
  return value;
}

/** One walk over a value. `ancestors` and `path` are where it is now. */
class Flattening {
  readonly #ancestors = new Set<object>();
  readonly #path: string[] = ["$"];

  flatten(value: unknown, key: string): unknown {
    if (typeof value === "function")
      return this.#refuse(`it is a function${value.name === "" ? "" : ` (${value.name})`}`);
    if (typeof value === "symbol") return this.#refuse("it is a symbol");
    return typeof value === "object" && value !== null ? this.#object(value, key) : value;
  }

  #object(value: object, key: string): unknown {
    if (types.isDate(value)) return dateToTag(value.getTime());
    if (ArrayBuffer.isView(value)) {
      return typedArrayToTag(value) ?? this.#refuse("it is a DataView; send a Uint8Array");
    }
    if (this.#ancestors.has(value)) return this.#refuse("it is a cycle: the value contains itself");
    if (this.#ancestors.size >= LIMITS.valueDepth)
      return this.#refuse(`it is nested deeper than ${LIMITS.valueDepth} levels`);
    this.#ancestors.add(value);
    try {
      return this.#container(value, key);
    } finally {
      this.#ancestors.delete(value);
    }
  }

  #container(value: object, key: string): unknown {
    if ("toJSON" in value && typeof value.toJSON === "function") return this.flatten(value.toJSON(key), key);
    if (Array.isArray(value)) return Array.from(value, (item: unknown, index) => this.#at(`[${index}]`, item, ""));
    if (types.isMap(value)) return new Tag(TAG_MAP, this.#map(value));
    if (types.isSet(value)) {
      return new Tag(
        TAG_SET,
        Array.from(value, (item, index) => this.#at(`<${index}>`, item, "")),
      );
    }
    if (types.isNativeError(value) || value instanceof Error) return this.#error(value);
    if (types.isBoxedPrimitive(value)) return this.flatten(value.valueOf(), key);
    const entries = Object.entries(value);
    const unsendable = nameOfUnsendable(value) ?? (entries.length === 0 ? hollowness(value) : undefined);
    if (unsendable !== undefined) return this.#refuse(unsendable);
    return this.#properties(entries);
  }

  #map(value: Map<unknown, unknown>): Map<unknown, unknown> {
    const flat = new Map<unknown, unknown>();
    let index = 0;
    for (const [key, item] of value) {
      // Two keys that are objects stay two keys: flattening makes a new object of each.
      flat.set(this.#at(`<key ${index}>`, key, ""), this.#at(`<${index}>`, item, ""));
      index += 1;
    }
    return flat;
  }

  #error(value: Error): Tag {
    const properties: [string, unknown][] = [
      ["name", String(value.name)],
      ["message", String(value.message)],
    ];
    if (typeof value.stack === "string") properties.push(["stack", value.stack]);
    if (Object.hasOwn(value, "cause")) properties.push(["cause", value.cause]);
    if (value instanceof AggregateError) properties.push(["errors", value.errors]);
    const flat = this.#properties(properties);
    for (const [name, item] of Object.entries(value)) {
      if (ERROR_PROPERTIES.has(name) || flat.has(name)) continue;
      try {
        flat.set(name, this.#at(propertyPath(name), item, name));
      } catch (error) {
        // Libraries put sockets and the like there: without them the error still says what went wrong.
        if (!(error instanceof ValueIsUnsupportedError)) throw error;
      }
    }
    return new Tag(TAG_OBJECT, [String(value.name), flat]);
  }

  #properties(entries: [string, unknown][]): Map<string, unknown> {
    return new Map(entries.map(([name, item]) => [name, this.#at(propertyPath(name), item, name)]));
  }

  #at(step: string, value: unknown, key: string): unknown {
    this.#path.push(step);
    try {
      return this.flatten(value, key);
    } finally {
      this.#path.pop();
    }
  }

  #refuse(problem: string): never {
    throw new ValueIsUnsupportedError(this.#path.join(""), problem);
  }
}

function propertyPath(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`;
}

/** What to say of an object whose content would be lost, or undefined where it is one to send. */
function nameOfUnsendable(value: object): string | undefined {
  if (types.isPromise(value)) return "it is a promise; await it first";
  if (types.isAnyArrayBuffer(value)) return "it is an ArrayBuffer; send a Uint8Array";
  if (types.isRegExp(value)) return "it is a RegExp; send its source";
  if (types.isWeakMap(value) || types.isWeakSet(value) || value instanceof WeakRef) return "it is a weak reference";
  if (types.isGeneratorObject(value)) return "it is a generator; send an array of its values";
  return undefined;
}

/** Decoders that need nothing but their tag's content. */
const DECODERS: ReadonlyMap<TagNumber, TagDecoder> = new Map<TagNumber, TagDecoder>([
  [TAG_DATE, ({ contents }) => new Date(msOfSeconds(Number(contents)))],
  [TAG_EXTENDED_TIME, ({ contents }) => dateFromExtendedTime(contents)],
  [TAG_POSITIVE_BIGINT, ({ contents }) => bigintFromBytes(contents)],
  [TAG_NEGATIVE_BIGINT, ({ contents }) => -1n - bigintFromBytes(contents)],
  [TAG_OBJECT, ({ contents }) => errorFromContents(contents)],
  [
    TAG_SET,
    ({ contents }) => new Set(Array.isArray(contents) ? contents.map(owned) : fail("tag 258 must hold an array")),
  ],
  [TAG_WTF8, (tag, options) => Tag.getDecoder(TAG_WTF8)?.(tag, options)],
  ...TYPED_ARRAY_TAGS.map((number): [TagNumber, TagDecoder] => [
    number,
    ({ contents }) =>
      (contents instanceof Uint8Array ? typedArrayFromTag(number, contents) : undefined) ??
      fail(`tag ${number} must hold whole elements`),
  ]),
]);

/** A tag that is not known must not reach the user as an object of the library. */
class RefusingMap extends Map<TagNumber, TagDecoder> {
  override get(tag: TagNumber): TagDecoder {
    return super.get(Number(tag)) ?? (() => fail(`tag ${Number(tag)} is not known`));
  }
}

function dateToTag(ms: number): Tag {
  const seconds = ms / 1_000;
  if (Number.isNaN(ms) || msOfSeconds(seconds) === ms) return new Tag(TAG_DATE, seconds);
  const whole = Math.floor(seconds);
  return new Tag(
    TAG_EXTENDED_TIME,
    new Map([
      [TIME_SECONDS, whole],
      [TIME_MILLISECONDS, ms - whole * 1_000],
    ]),
  );
}

function dateFromExtendedTime(contents: unknown): Date {
  const parts = contents instanceof Map ? contents : fail("tag 1001 must hold a map of numbers");
  return new Date(msOfSeconds(Number(parts.get(TIME_SECONDS))) + Number(parts.get(TIME_MILLISECONDS) ?? 0));
}

function msOfSeconds(seconds: number): number {
  return Math.round(seconds * 1_000);
}

function bigintFromBytes(contents: unknown): bigint {
  if (!(contents instanceof Uint8Array)) return fail("a big integer must be a byte string");
  return contents.length === 0 ? 0n : BigInt(`0x${Buffer.from(contents).toString("hex")}`);
}

function errorFromContents(contents: unknown): Error {
  const [className, properties] = Array.isArray(contents) ? contents : [];
  if (typeof className !== "string" || typeof properties !== "object" || properties === null) {
    return fail("tag 27 must hold a class name and properties");
  }
  const { name, message, stack, cause, errors } = properties as Record<string, unknown>;
  const text = typeof message === "string" ? message : "";
  const options = Object.hasOwn(properties, "cause") ? { cause } : undefined;
  const made = Array.isArray(errors)
    ? new AggregateError(errors, text, options)
    : new (ERROR_CLASSES.get(className) ?? Error)(text, options);
  const wanted = typeof name === "string" ? name : className;
  if (made.name !== wanted) hide(made, "name", wanted);
  hide(made, "stack", typeof stack === "string" ? stack : `${wanted}: ${text}`);
  for (const [key, value] of Object.entries(properties)) {
    // Not by assignment, which a key such as "__proto__" would make something else of.
    if (ERROR_PROPERTIES.has(key) || Object.hasOwn(made, key)) continue;
    Object.defineProperty(made, key, { value, enumerable: true, configurable: true, writable: true });
  }
  return made;
}

function hide(target: object, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, enumerable: false, configurable: true, writable: true });
}

function fail(problem: string): never {
  throw new TypeError(problem);
}
