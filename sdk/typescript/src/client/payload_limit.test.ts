import { describe, expect, it } from "vitest";
import { payloadLimit } from "./payload_limit.js";

describe("the largest payload that is sent", () => {
  it.each([
    [undefined, {}, 250_000],
    [undefined, { MULTINODE_MAX_PAYLOAD_BYTES: "" }, 250_000],
    [undefined, { MULTINODE_MAX_PAYLOAD_BYTES: "4000000" }, 4_000_000],
    [1_000, { MULTINODE_MAX_PAYLOAD_BYTES: "4000000" }, 1_000],
  ])("is, given %s and the environment %o, %i bytes", (given, env, bytes) => {
    expect(payloadLimit(given, env)).toBe(bytes);
  });

  it.each([
    [
      undefined,
      { MULTINODE_MAX_PAYLOAD_BYTES: "1 MiB" },
      /^MULTINODE_MAX_PAYLOAD_BYTES: "1 MiB" must be .* 1000 to 4000000$/,
    ],
    [undefined, { MULTINODE_MAX_PAYLOAD_BYTES: "4000001" }, /^MULTINODE_MAX_PAYLOAD_BYTES: "4000001" must be/],
    [999, {}, /^maxPayloadBytes: "999" must be/],
    [Number.NaN, {}, /^maxPayloadBytes: "NaN" must be/],
  ])("is refused, given %s and the environment %o", (given, env, message) => {
    expect(() => payloadLimit(given, env)).toThrow(message);
  });
});
