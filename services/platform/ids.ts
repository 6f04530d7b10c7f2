/**
 * Identifiers: a prefix and 26 characters of Crockford's base 32, of which 10 are the time in milliseconds and 16 are 80
 * random bits. Within one source they grow strictly, also within a millisecond and when the clock steps back.
 */
import { randomBytes } from "node:crypto";
import type { IdPrefix } from "../../sdk/typescript/src/protocol/names.js";
import type { Clock } from "./clock.js";

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";
/** Every two characters, in the order of their value: half as many steps for each identifier. */
const PAIRS = Array.from(ALPHABET).flatMap((first) => Array.from(ALPHABET, (second) => first + second));
const HALF = 2 ** 40;
const RANDOM_BYTES = 10;
/** Identifiers whose random bits are drawn together: to draw costs ten times as much as the rest. */
const DRAWN_TOGETHER = 256;

export class IdSource {
  readonly #clock: Clock;
  #timeMs = 0;
  // The 80 random bits as two halves of 40.
  #high = 0;
  #low = 0;
  /** Time and high half. */
  #beginning = "";
  #drawn = Buffer.alloc(0);
  /** How much of it is used. */
  #usedBytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  next(prefix: IdPrefix): string {
    const now = this.#clock.now();
    if (now > this.#timeMs) {
      this.#timeMs = now;
      this.#draw();
      this.#begin();
    } else {
      this.#low += 1;
      if (this.#low >= HALF) {
        this.#low = 0;
        this.#high = (this.#high + 1) % HALF;
        this.#begin();
      }
    }
    return `${prefix}-${this.#beginning}${base32(this.#low, 8)}`;
  }

  #draw(): void {
    if (this.#usedBytes >= this.#drawn.byteLength) {
      this.#drawn = randomBytes(RANDOM_BYTES * DRAWN_TOGETHER);
      this.#usedBytes = 0;
    }
    this.#high = this.#drawn.readUIntBE(this.#usedBytes, RANDOM_BYTES / 2);
    this.#low = this.#drawn.readUIntBE(this.#usedBytes + RANDOM_BYTES / 2, RANDOM_BYTES / 2);
    this.#usedBytes += RANDOM_BYTES;
  }

  #begin(): void {
    this.#beginning = base32(this.#timeMs, 10) + base32(this.#high, 8);
  }
}

/** The first identifier that could have been made at this time, for bounds of a listing. */
export function firstIdAt(prefix: IdPrefix, timeMs: number): string {
  return `${prefix}-${base32(Math.min(Math.max(timeMs, 0), 2 ** 48 - 1), 10)}${"0".repeat(16)}`;
}

/** The time in an identifier, in UTC milliseconds. */
export function timeOfId(id: string): number {
  let timeMs = 0;
  for (const character of id.slice(id.indexOf("-") + 1).slice(0, 10))
    timeMs = timeMs * 32 + ALPHABET.indexOf(character);
  return timeMs;
}

/** `length` is even. */
function base32(value: number, length: number): string {
  let text = "";
  let rest = value;
  for (let i = 0; i < length; i += 2) {
    const next = Math.floor(rest / PAIRS.length);
    text = (PAIRS[rest - next * PAIRS.length] ?? "") + text;
    rest = next;
  }
  return text;
}
