import { describe, expect, it } from "vitest";
import { formatApiKey, parseApiKey } from "./api_key.js";

const parts = { keyId: `key-${"0".repeat(25)}z`, secret: `${"A".repeat(41)}_-` };
const key = formatApiKey(parts);

describe("API key", () => {
  it("comes back from its text", () => {
    expect(parseApiKey(key)).toEqual(parts);
  });

  it("ends with the CRC-32 of the rest", () => {
    expect(key.slice(-9)).toBe("_70e50066"); // As zlib computes it.
  });

  it.each(["", "mn_", key.slice(1), `${key}0`, key.replace("A", "B"), key.toUpperCase(), `${key}\n`])(
    "is not %j",
    (text) => {
      expect(parseApiKey(text)).toBeUndefined();
    },
  );
});
