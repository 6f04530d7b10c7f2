/**
 * Patterns of JSON Schemas, which are to be read as Unicode. Many are written for JavaScript without that: what they take so is
 * taken too, since the schema that they are of takes it.
 */
class Pattern {
  readonly #readings: readonly RegExp[];

  /** @throws SyntaxError where it is none either way */
  constructor(pattern: string, flags: string) {
    const plain = regExpOf(pattern, "");
    this.#readings = [regExpOf(pattern, flags), plain].filter((reading) => reading instanceof RegExp);
    if (this.#readings.length === 0) throw plain;
  }

  test(text: string): boolean {
    return this.#readings.some((reading) => reading.test(text));
  }

  toString(): string {
    return String(this.#readings);
  }
}

function regExpOf(pattern: string, flags: string): RegExp | Error {
  try {
    return new RegExp(pattern, flags);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** As Ajv asks for it. */
export const patternOf = Object.assign((pattern: string, flags: string) => new Pattern(pattern, flags), {
  code: "new RegExp",
});
