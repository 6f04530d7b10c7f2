/** Patterns of JSON Schemas, which are to be read as Unicode. Many that people write are not strict enough for that. */
export const patternOf = Object.assign(
  (pattern: string, flags: string): RegExp => {
    try {
      return new RegExp(pattern, flags);
    } catch {
      return new RegExp(pattern);
    }
  },
  { code: "new RegExp" },
);
