/** The code in which HTTP/2 packs texts of headers (RFC 7541, appendix B). */

/** Bits of each byte's code, and of the end mark's, as letters from "a" for 5. The code is canonical: that tells the codes too. */
const LENGTHS = [
  "isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhf",
  "ibccccccccccccccccccccccdcdioijbkabababbbaccbbbabcbaabccccckgjix",
  "prpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrs",
  "vvporsruvvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwv",
  "z",
].join("");
const SHORTEST = 5;
const LONGEST = 30;
const END_MARK = 256;
/** A text ends at a whole byte: what is left of it is the beginning of the end mark, all ones. */
const PADDING_BITS = 7;

interface Codes {
  /** The first code of a length, and how many there are. */
  readonly first: number;
  readonly symbols: readonly number[];
}

let codesOf: readonly Codes[] | undefined;

/** @throws RangeError where the bytes are no text in this code */
export function decodeHuffman(bytes: Uint8Array): string {
  codesOf ??= canonicalCodes();
  let text = "";
  let code = 0;
  let length = 0;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit -= 1) {
      code = (code << 1) | ((byte >> bit) & 1);
      length += 1;
      const codes = codesOf[length];
      if (codes === undefined) throw new RangeError("a text of a header has a code that is none");
      const symbol = codes.symbols[code - codes.first];
      if (symbol === undefined) continue;
      if (symbol === END_MARK) throw new RangeError("a text of a header has an end mark within it");
      text += String.fromCharCode(symbol);
      code = 0;
      length = 0;
    }
  }
  if (length > PADDING_BITS || code !== (1 << length) - 1) throw new RangeError("a text of a header ends in a code");
  return text;
}

/** By length. Codes of one length follow each other, in the order of their symbols; those that are longer follow them. */
function canonicalCodes(): readonly Codes[] {
  const codes: Codes[] = [];
  let next = 0;
  for (let length = 0; length <= LONGEST; length += 1) {
    const letter = String.fromCharCode("a".charCodeAt(0) + length - SHORTEST);
    const symbols = LENGTHS.split("").flatMap((other, symbol) => (other === letter ? [symbol] : []));
    next <<= 1;
    codes.push({ first: next, symbols });
    next += symbols.length;
  }
  return codes;
}
