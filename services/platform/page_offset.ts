/**
 * Offsets of listings: opaque to callers, signed, and bound to the listing that they were given for, so that one from
 * another listing, or a forged one, is refused and never misread.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { badRequest, Refusal } from "./errors.js";

export class PageOffsets {
  readonly #secret: Uint8Array;

  constructor(secret: Uint8Array) {
    this.#secret = secret;
  }

  /** `listing` is everything that must be the same in the next request; `position` is the last item of this page. */
  encode(listing: readonly unknown[], position: string): string {
    return `${this.#sign(listing, position)}.${Buffer.from(position).toString("base64url")}`;
  }

  /** Answers the position, or undefined for the first page. */
  decode(listing: readonly unknown[], offset: string): string | undefined {
    if (offset === "") return undefined;
    const position = Buffer.from(offset.slice(offset.indexOf(".") + 1), "base64url").toString();
    // Whole, since base64 has many spellings of one position.
    const given = Buffer.from(offset);
    const expected = Buffer.from(this.encode(listing, position));
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      throw new Refusal("OffsetIsInvalid", "the offset was not given by this server for this listing");
    }
    return position;
  }

  /** The first `pageSize` of items of which there may be one more, and where the next page begins: "" where there is none. */
  page<T>(
    listing: readonly unknown[],
    items: readonly T[],
    pageSize: number,
    positionOf: (item: T) => string,
  ): { page: readonly T[]; nextOffset: string } {
    const page = items.slice(0, pageSize);
    const last = items.length > pageSize ? page.at(-1) : undefined;
    return { page, nextOffset: last === undefined ? "" : this.encode(listing, positionOf(last)) };
  }

  #sign(listing: readonly unknown[], position: string): string {
    const content = JSON.stringify([...listing, position]);
    return createHmac("sha256", this.#secret).update(content).digest("base64url").slice(0, 16);
  }
}

/** As many items, from the first, as one page holds; at least one. `bytesOf` may be roughly right. */
export function fitting<T>(items: readonly T[], bytesOf: (item: T) => number): readonly T[] {
  let bytes = 0;
  const end = items.findIndex((item, index) => {
    bytes += bytesOf(item);
    return bytes > LIMITS.pageBytes && index > 0;
  });
  return end < 0 ? items : items.slice(0, end);
}

/** 0 means the default, and more than the most means the most. */
export function pageSizeOf(requested: number, defaultSize: number = LIMITS.pageSize): number {
  if (requested < 0) {
    throw badRequest([{ field: "page_size", description: `${requested} is below 0` }]);
  }
  return requested === 0 ? defaultSize : Math.min(requested, LIMITS.maxPageSize);
}
