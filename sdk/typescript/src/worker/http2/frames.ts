/** Frames of HTTP/2 (RFC 9113, section 4 and 6): how they are written, and cut out of what arrives. */

export const FRAME = {
  data: 0,
  headers: 1,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const FLAG = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

export const SETTING = { headerTableSize: 1, enablePush: 2, initialWindowSize: 4, maxFrameSize: 5 } as const;

export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

const HEADER_BYTES = 9;
/** The largest frame that may come to who allows no larger ones, as we do; and what may be sent before the other side allows more. */
export const FRAME_BYTES = 16_384;
const PRIORITY_BYTES = 5;
const SETTING_BYTES = 6;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** One frame; a payload is copied. */
export function frame(type: number, flags: number, streamId: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + payload.byteLength);
  bytes.writeUIntBE(payload.byteLength, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(streamId, 5);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

export function settingsFrame(settings: Readonly<Record<number, number>>): Buffer {
  const entries = Object.entries(settings);
  const payload = Buffer.alloc(entries.length * SETTING_BYTES);
  for (const [i, [id, value]] of entries.entries()) {
    payload.writeUInt16BE(Number(id), i * SETTING_BYTES);
    payload.writeUInt32BE(value, i * SETTING_BYTES + 2);
  }
  return frame(FRAME.settings, 0, 0, payload);
}

export function readSettings(payload: Buffer): readonly (readonly [id: number, value: number])[] {
  if (payload.byteLength % SETTING_BYTES !== 0) throw new RangeError("the server's settings are cut");
  return Array.from({ length: payload.byteLength / SETTING_BYTES }, (_, i) => [
    payload.readUInt16BE(i * SETTING_BYTES),
    payload.readUInt32BE(i * SETTING_BYTES + 2),
  ]);
}

/** One number, as window updates, resets and the ends of connections have it. */
export function numberFrame(type: number, streamId: number, value: number): Buffer {
  const payload = Buffer.allocUnsafe(4);
  payload.writeUInt32BE(value);
  return frame(type, 0, streamId, payload);
}

/** What a frame of data or of headers has beside padding and priority. */
export function contentOf({ type, flags, payload }: Frame): Buffer {
  const padding = flags & FLAG.padded ? payload.readUInt8(0) : 0;
  const from = (flags & FLAG.padded ? 1 : 0) + (type === FRAME.headers && flags & FLAG.priority ? PRIORITY_BYTES : 0);
  if (from + padding > payload.byteLength) throw new RangeError("a frame is shorter than its padding");
  return payload.subarray(from, payload.byteLength - padding);
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  #bytes: Buffer = Buffer.alloc(0);

  add(chunk: Buffer): void {
    this.#bytes = this.#bytes.byteLength === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
  }

  /**
   * The next whole frame, if there is one.
   *
   * @throws RangeError where it is larger than allowed
   */
  next(): Frame | undefined {
    const bytes = this.#bytes;
    if (bytes.byteLength < HEADER_BYTES) return undefined;
    const length = bytes.readUIntBE(0, 3);
    if (length > FRAME_BYTES) throw new RangeError(`a frame has ${length} bytes, which is above ${FRAME_BYTES}`);
    const end = HEADER_BYTES + length;
    if (bytes.byteLength < end) return undefined;
    this.#bytes = bytes.subarray(end);
    const streamId = bytes.readUInt32BE(5) & 0x7fffffff;
    return {
      type: bytes.readUInt8(3),
      flags: bytes.readUInt8(4),
      streamId,
      payload: bytes.subarray(HEADER_BYTES, end),
    };
  }
}
