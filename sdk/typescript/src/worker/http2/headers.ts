/**
 * Headers as HTTP/2 packs them (HPACK, RFC 7541), without the table that two sides share: we offer none of ours to be
 * used, and use none of theirs.
 */
import { decodeHuffman } from "./huffman.js";

export type Headers = Readonly<Record<string, string>>;

/** The beginning of a field that no one on the way may keep. */
const NEVER_INDEXED = 0x10;
/** Of the table that all know: what has this index and no other one is a field that we read. */
const STATUSES = ["200", "204", "206", "304", "400", "404", "500"];
const FIRST_STATUS = 8;
const STATIC_FIELDS = 61;

export function encodeHeaders(headers: Headers): Buffer {
  const parts = Object.entries(headers).flatMap(([name, value]) => [
    Buffer.of(NEVER_INDEXED),
    ...text(name),
    ...text(value),
  ]);
  return Buffer.concat(parts);
}

function text(value: string): [length: Buffer, bytes: Buffer] {
  const bytes = Buffer.from(value, "latin1");
  return [integer(bytes.byteLength, 7), bytes];
}

/** As a number whose first byte has so many bits for it, and the others at 0. */
function integer(value: number, bits: number): Buffer {
  const most = (1 << bits) - 1;
  if (value < most) return Buffer.of(value);
  const bytes = [most];
  let rest = value - most;
  for (; rest > 0x7f; rest >>>= 7) bytes.push(0x80 | (rest & 0x7f));
  bytes.push(rest);
  return Buffer.from(bytes);
}

/**
 * The fields of a block by name. Of fields that are in the table that all know, only ":status" is told: none of the others
 * is gRPC's.
 *
 * @throws RangeError where the block is malformed
 */
export function decodeHeaders(block: Uint8Array): Record<string, string> {
  const headers: Record<string, string> = {};
  const reader = new Reader(block);
  while (!reader.isAtEnd) {
    const byte = reader.peek();
    if (byte & 0x80) {
      const index = reader.integer(7);
      const status = STATUSES[index - FIRST_STATUS];
      if (index === 0 || index > STATIC_FIELDS)
        throw new RangeError(`a header is field ${index} of a table without one`);
      if (status !== undefined) headers[":status"] = status;
    } else if ((byte & 0xe0) === 0x20) {
      if (reader.integer(5) > 0) throw new RangeError("the server makes a table of headers");
    } else {
      // With or without a place in the table: it has none.
      const nameIndex = reader.integer(byte & 0x40 ? 6 : 4);
      if (nameIndex > STATIC_FIELDS) throw new RangeError(`a header has name ${nameIndex} of a table without one`);
      const name = nameIndex === 0 ? reader.text() : nameOf(nameIndex);
      const value = reader.text();
      if (name !== undefined) headers[name] = value;
    }
  }
  return headers;
}

function nameOf(index: number): string | undefined {
  return STATUSES[index - FIRST_STATUS] === undefined ? undefined : ":status";
}

class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.byteLength;
  }

  peek(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new RangeError("a block of headers is cut");
    return byte;
  }

  /** A number whose first byte has so many bits for it. */
  integer(bits: number): number {
    const most = (1 << bits) - 1;
    let value = this.#byte() & most;
    if (value < most) return value;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (value > 2 ** 31) throw new RangeError("a block of headers has a number that is too large");
      if (!(byte & 0x80)) return value;
    }
  }

  text(): string {
    const isPacked = (this.peek() & 0x80) !== 0;
    const length = this.integer(7);
    const bytes = this.#bytes.subarray(this.#at, this.#at + length);
    if (bytes.byteLength < length) throw new RangeError("a block of headers is cut");
    this.#at += length;
    return isPacked ? decodeHuffman(bytes) : Buffer.from(bytes).toString("latin1");
  }

  #byte(): number {
    const byte = this.peek();
    this.#at += 1;
    return byte;
  }
}
