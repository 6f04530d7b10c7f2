import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { CBOR_CONTENT_TYPE, JSON_CONTENT_TYPE } from "../protocol/names.js";
import {
  checkPayloadSize,
  decode,
  decodeArguments,
  encode,
  encodeArguments,
  PayloadIsInvalidError,
  PayloadSizeLimitExceeded,
  ValueIsUnsupportedError,
} from "./codec.js";

function roundTrip(value: unknown): unknown {
  return decode(encode(value));
}

function pathOf(value: unknown): string {
  try {
    encode(value);
  } catch (error) {
    if (error instanceof ValueIsUnsupportedError) return error.path;
    throw error;
  }
  throw new Error("the value was not refused");
}

function failureOf(run: () => unknown): unknown {
  try {
    run();
    return undefined;
  } catch (error) {
    return error;
  }
}

const typedArrays = fc.oneof(
  fc.uint8Array(),
  fc.uint8ClampedArray(),
  fc.int8Array(),
  fc.int16Array(),
  fc.uint16Array(),
  fc.int32Array(),
  fc.uint32Array(),
  fc.float32Array(),
  fc.float64Array(),
  fc.bigInt64Array(),
  fc.bigUint64Array(),
);

const values = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.oneof(
      fc.string({ unit: "binary" }),
      fc.double(),
      fc.maxSafeInteger(),
      fc.boolean(),
      fc.constantFrom(
        null,
        undefined,
        Number.NaN,
        -0,
        Number.POSITIVE_INFINITY,
        Number.NEGATIVE_INFINITY,
        2 ** 60,
        "\ud800",
      ),
      fc.bigInt(),
      fc.date({ noInvalidDate: false }),
      typedArrays,
    ),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.string(), fc.constant("__proto__"), fc.constant("toJSONs")), tie("value"), {
      maxKeys: 4,
      noNullPrototype: true,
    }),
    fc.array(fc.tuple(tie("value"), tie("value")), { maxLength: 3 }).map((entries) => new Map(entries)),
    fc.array(tie("value"), { maxLength: 3 }).map((items) => new Set(items)),
  ),
})).value;

describe("a value comes back as it was", () => {
  test("any value", () => {
    fc.assert(
      fc.property(values, (value) => {
        expect(roundTrip(value)).toStrictEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  test("any JSON value, as plain JSON", () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false }), (value) => {
        fc.pre(JSON.stringify(JSON.parse(JSON.stringify(value))) === JSON.stringify(value));
        fc.pre(
          !JSON.stringify(value, (_, item: unknown) => (Object.is(item, -0) ? "minus zero" : item)).includes(
            "minus zero",
          ),
        );
        const encoded = encode(value);
        expect(encoded.contentType).toBe(JSON_CONTENT_TYPE);
        expect(decode(encoded)).toStrictEqual(value);
      }),
      { numRuns: 300 },
    );
  });

  test("errors keep class, message, stack and cause", () => {
    class PaymentError extends Error {
      override readonly name = "PaymentError";
    }
    const error = new PaymentError("declined", { cause: new RangeError("too much", { cause: { amount: 5n } }) });
    const back = roundTrip(error) as PaymentError;
    expect(back).toBeInstanceOf(Error);
    expect(back).toMatchObject({ name: "PaymentError", message: "declined", stack: error.stack });
    expect(back.cause).toBeInstanceOf(RangeError);
    expect(back.cause).toMatchObject({ message: "too much", cause: { amount: 5n } });
    const several = roundTrip(new AggregateError([new TypeError("a")], "all")) as AggregateError;
    expect(several).toBeInstanceOf(AggregateError);
    expect(several.errors[0]).toBeInstanceOf(TypeError);
  });

  test("errors keep properties of their own, but for those that cannot be sent", () => {
    const error = Object.assign(new TypeError("refused"), {
      name: "ConnectError",
      code: "ECONNREFUSED",
      status: 503,
      details: { at: new Date(5), tried: new Set(["a"]) },
      errors: { field: "bad" },
      send: () => 1,
      request: { socket: { write: () => 1 } },
      cause: new Error("x"),
    });
    Object.assign(error, { self: error });
    Object.defineProperty(error, "__proto__", { value: { isAdmin: true }, enumerable: true });
    const back = roundTrip({ error }) as { error: Error & { isAdmin?: boolean } };
    expect(back.error).toBeInstanceOf(Error);
    expect(back.error).toMatchObject({ name: "ConnectError", message: "refused", cause: { message: "x" } });
    expect(back.error.isAdmin).toBeUndefined();
    expect(Object.entries(back.error)).toStrictEqual([
      ["code", "ECONNREFUSED"],
      ["status", 503],
      ["details", { at: new Date(5), tried: new Set(["a"]) }],
      ["errors", { field: "bad" }],
      ["__proto__", { isAdmin: true }],
    ]);
  });

  test("an object of an empty class as an empty object, also beside what JSON cannot carry", () => {
    class Empty {}
    expect(roundTrip([new Empty(), 1n])).toStrictEqual([{}, 1n]);
    expect(encode(new Empty())).toMatchObject({ contentType: JSON_CONTENT_TYPE, data: Buffer.from("{}") });
  });

  test("bytes on memory of their own, wherever they are in a value", () => {
    const bytes = () => new Uint8Array([1, 2, 3]);
    const value = [bytes(), { a: [bytes()] }, new Map([["b", [bytes()]]]), new Set([bytes()]), new Float32Array([1])];
    const message = Buffer.concat([Buffer.alloc(3), encode(value).data]);
    const data = message.subarray(3);
    const back = decode({ ...encode(value), data }) as typeof value;
    expect(back).toStrictEqual(value);
    const found: Uint8Array[] = [];
    const walk = (part: unknown): void => {
      if (part instanceof Uint8Array) found.push(part);
      else if (part instanceof Map || part instanceof Set) for (const item of part.values()) walk(item);
      else if (typeof part === "object" && part !== null) for (const item of Object.values(part)) walk(item);
    };
    walk(back);
    expect(found.map(({ buffer, byteLength }) => buffer.byteLength - byteLength)).toStrictEqual([0, 0, 0, 0]);
    expect(decode(encode(bytes()))).toStrictEqual(bytes());
  });

  test("a Buffer as a Uint8Array, a class as its properties, toJSON where there is one", () => {
    class Point {
      readonly x = 1;
      readonly y = 2;
    }
    expect(roundTrip(Buffer.from("hi"))).toStrictEqual(new Uint8Array([104, 105]));
    expect(encode(new Point())).toMatchObject({ contentType: JSON_CONTENT_TYPE });
    expect(roundTrip(new Point())).toStrictEqual({ x: 1, y: 2 });
    expect(roundTrip([new URL("http://a.example/b"), 1n])).toStrictEqual(["http://a.example/b", 1n]);
    expect(roundTrip({ at: { toJSON: (key: string) => `key ${key}` } })).toStrictEqual({ at: "key at" });
  });

  test("a view sends its own bytes only, and is decoded on its own memory", () => {
    const view = new Uint16Array([1, 2, 3, 4]).subarray(1, 3);
    const back = roundTrip(view) as Uint16Array;
    expect(back).toStrictEqual(new Uint16Array([2, 3]));
    expect(back.buffer.byteLength).toBe(4);
  });

  test("Map entries keep their order, and Maps stay Maps with keys of text", () => {
    const map = new Map<unknown, unknown>([
      ["2", "b"],
      ["1", "a"],
      ["__proto__", 1],
    ]);
    expect([...(roundTrip(map) as Map<unknown, unknown>)]).toStrictEqual([...map]);
  });

  test("__proto__ is a property like any other", () => {
    for (const text of ['{"__proto__":{"isAdmin":true}}', '{"a":{"__proto__":[1]}}']) {
      const value: unknown = JSON.parse(text);
      for (const back of [roundTrip(value), (roundTrip([value, 1n]) as unknown[])[0]]) {
        expect(back).toStrictEqual(value);
        expect(Object.getPrototypeOf(back)).toBe(Object.prototype);
        expect((back as { isAdmin?: boolean }).isAdmin).toBeUndefined();
      }
    }
  });
});

describe("what cannot be sent is refused with its path", () => {
  test.each([
    ["$.a[3].b", { a: [0, 1, 2, { b: () => 1 }] }],
    ["$", Symbol("s")],
    ['$["not a name"]', { "not a name": Symbol.iterator }],
    ["$[1]<key 0>", [1n, new Map([[() => 1, 1]])]],
    ["$<0>", new Set([Promise.resolve(1)])],
    ["$.r", { r: /x/ }],
    ["$[0]", [new ArrayBuffer(1)]],
    ["$.cause", new Error("x", { cause: () => 1 })],
    ["$.all", { all: new Map([["a", 1]]).values() }],
    ["$[0]", [(function* () {})()]],
  ])("%s", (path, value) => {
    expect(pathOf(value)).toBe(path);
  });

  class Untagged {}
  test.each([
    ["Response", new Response("x")],
    ["Request", new Request("http://a.example")],
    ["Headers", new Headers({ a: "b" })],
    ["URLSearchParams", new URLSearchParams("a=b")],
    ["FormData", new FormData()],
    ["Blob", new Blob(["x"])],
    ["File", new File(["x"], "name")],
    ["ReadableStream", new Blob(["x"]).stream()],
    ["AbortSignal", new AbortController().signal],
    ["AbortController", new AbortController()],
    ["Intl.NumberFormat", new Intl.NumberFormat()],
    ["FinalizationRegistry", new FinalizationRegistry(() => {})],
    ["TextDecoderStream", new (class Own extends TextDecoderStream {})()],
  ])("a %s, whose content would be lost", (name, value) => {
    for (const sent of [{ a: [value] }, { a: [value], b: 1n }]) {
      expect(pathOf(sent)).toBe("$.a[0]");
      expect(() => encode(sent)).toThrow(`it is an object of the class ${name}, which has no properties to send; send`);
    }
  });

  test("what has no tag is known by its global class", () => {
    vi.stubGlobal("Untagged", Untagged);
    expect(() => encode(new Untagged())).toThrow(/class Untagged/);
    expect(() => encode(new (class extends Untagged {})())).toThrow(/class Untagged/);
    vi.unstubAllGlobals();
    expect(roundTrip(new Untagged())).toStrictEqual({});
  });

  test("cycles", () => {
    const cycle: Record<string, unknown> = { list: [1] };
    (cycle["list"] as unknown[]).push(cycle);
    expect(pathOf({ cycle })).toBe("$.cycle.list[1]");
    expect(() => encode(cycle)).toThrow(/cycle/);
    const map = new Map<string, unknown>();
    map.set("me", map);
    expect(pathOf(map)).toBe("$<0>");
  });

  test("the same object twice is no cycle", () => {
    const shared = { n: 1n };
    expect(roundTrip([shared, shared])).toStrictEqual([{ n: 1n }, { n: 1n }]);
  });

  test("depth", () => {
    let deep: unknown = 1;
    for (let level = 0; level < 100_000; level += 1) deep = [deep];
    expect(() => encode(deep)).toThrow(/deeper/);
  });
});

describe("bytes that are not what they say", () => {
  test.each([
    ["application/json", "{"],
    ["", "undefined"],
    ["application/cbor", "\u00ff"],
    ["application/xml", "<a/>"],
  ])("%s %s", (contentType, text) => {
    expect(() => decode({ contentType, data: Buffer.from(text, "latin1") })).toThrow(PayloadIsInvalidError);
  });

  test("a tag that is not ours", () => {
    expect(() => decode({ contentType: CBOR_CONTENT_TYPE, data: Buffer.from("d82061613a", "hex") })).toThrow(
      PayloadIsInvalidError,
    );
    expect(() => decode({ contentType: CBOR_CONTENT_TYPE, data: Buffer.from("d8206161", "hex") })).toThrow(/tag 32/);
  });

  test("never anything but PayloadIsInvalidError", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 40 }),
        fc.constantFrom(JSON_CONTENT_TYPE, CBOR_CONTENT_TYPE),
        (data, contentType) => {
          expect(failureOf(() => decode({ contentType, data })) ?? new PayloadIsInvalidError()).toBeInstanceOf(
            PayloadIsInvalidError,
          );
        },
      ),
      { numRuns: 1_000 },
    );
  });
});

describe("arguments", () => {
  test("positional and named", () => {
    const encoded = encodeArguments([1, new Date(5)], { x: 1 });
    expect(decodeArguments(encoded)).toStrictEqual({ positional: [1, new Date(5)], named: { x: 1 } });
    expect(encodeArguments([])).toStrictEqual({ positional: undefined, named: undefined });
    expect(decodeArguments(undefined)).toStrictEqual({ positional: [], named: undefined });
    expect(() => decodeArguments({ positional: encode({}), named: undefined })).toThrow(PayloadIsInvalidError);
  });

  test("size", () => {
    checkPayloadSize(encode("x".repeat(8)), "the input", 10);
    const tooLarge = () => checkPayloadSize(encodeArguments(["x".repeat(8)]), "the input", 11);
    expect(tooLarge).toThrow(PayloadSizeLimitExceeded);
    expect(tooLarge).toThrow("the input is 12 bytes when encoded; the limit is 11 bytes");
  });
});
