/** Typed arrays as CBOR carries them: RFC 8746, tags 64 to 87. */
import { endianness } from "node:os";
import { types } from "node:util";
import { Tag } from "cbor2";

type TypedArrayName =
  | "Uint8Array"
  | "Uint8ClampedArray"
  | "Uint16Array"
  | "Uint32Array"
  | "BigUint64Array"
  | "Int8Array"
  | "Int16Array"
  | "Int32Array"
  | "BigInt64Array"
  | "Float16Array"
  | "Float32Array"
  | "Float64Array";

interface TypedArrayConstructor {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBuffer): ArrayBufferView;
}

/** [tag of big-endian elements, tag of little-endian ones]. Of elements of one byte there is only one. */
const TAGS: Readonly<Record<TypedArrayName, readonly [number, number]>> = {
  Uint8Array: [64, 64],
  Uint16Array: [65, 69],
  Uint32Array: [66, 70],
  BigUint64Array: [67, 71],
  Uint8ClampedArray: [68, 68],
  Int8Array: [72, 72],
  Int16Array: [73, 77],
  Int32Array: [74, 78],
  BigInt64Array: [75, 79],
  Float16Array: [80, 84],
  Float32Array: [81, 85],
  Float64Array: [82, 86],
};

const HOST_IS_LITTLE_ENDIAN = endianness() === "LE";

const NAME_BY_TAG: ReadonlyMap<number, TypedArrayName> = new Map(
  Object.entries(TAGS).flatMap(([name, tags]) => tags.map((tag) => [tag, name as TypedArrayName] as const)),
);

export const TYPED_ARRAY_TAGS: readonly number[] = [...NAME_BY_TAG.keys()];

/** A Uint8Array as it is, any other typed array in its tag; undefined for a DataView. */
export function typedArrayToTag(value: ArrayBufferView): Uint8Array | Tag | undefined {
  const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  if (types.isUint8Array(value)) return bytes;
  if (!types.isTypedArray(value)) return undefined;
  const name = value[Symbol.toStringTag] as TypedArrayName;
  const tags = TAGS[name];
  if (tags[0] === tags[1] || HOST_IS_LITTLE_ENDIAN) return new Tag(tags[1], bytes);
  return new Tag(tags[1], swapped(bytes, value.BYTES_PER_ELEMENT));
}

/** The typed array of a tag, on memory of its own; undefined where the bytes are not whole elements. */
export function typedArrayFromTag(tag: number, bytes: Uint8Array): ArrayBufferView | undefined {
  const name = NAME_BY_TAG.get(tag);
  const constructor = name === undefined ? undefined : constructorOf(name);
  if (name === undefined || constructor === undefined || bytes.byteLength % constructor.BYTES_PER_ELEMENT !== 0) {
    return undefined;
  }
  const isForeign = constructor.BYTES_PER_ELEMENT > 1 && (tag === TAGS[name][1]) !== HOST_IS_LITTLE_ENDIAN;
  const own = isForeign ? swapped(bytes, constructor.BYTES_PER_ELEMENT) : new Uint8Array(bytes);
  return new constructor(own.buffer);
}

/** Found by its name, since not every supported Node has a Float16Array. */
function constructorOf(name: TypedArrayName): TypedArrayConstructor | undefined {
  return (globalThis as unknown as Partial<Record<TypedArrayName, TypedArrayConstructor>>)[name];
}

function swapped(bytes: Uint8Array, elementBytes: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes);
  const view = Buffer.from(copy.buffer);
  if (elementBytes === 2) view.swap16();
  else if (elementBytes === 4) view.swap32();
  else view.swap64();
  return copy;
}
