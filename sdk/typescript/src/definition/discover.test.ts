import { expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import { DefinitionError } from "../errors.js";
import { getContext } from "./context.js";
import { discover } from "./discover.js";
import { type DefinedFunction, isDefinedFunction } from "./function.js";
import { isMultinode, Multinode } from "./multinode.js";
import type { FunctionOptions } from "./options.js";

test("functions are found by the names of their exports", () => {
  const mn = new Multinode();
  const resize = mn.function({ cpu: 2, input: z.string() }, async (url) => url.length);
  const other = mn.function({ name: "renamed" }, () => 1);
  const found = discover({ mn, resize, other, helper: () => 1, version: 3 });
  expect([...found.keys()]).toStrictEqual(["resize", "renamed"]);
  expect(resize.spec).toMatchObject({ functionName: "resize", options: { cpu: 2 }, outputSchema: "" });
  expect(JSON.parse(resize.spec.inputSchema)).toMatchObject({ type: "array", prefixItems: [{ type: "string" }] });
  expect(isMultinode(mn) && isDefinedFunction(resize)).toBe(true);
});

test("main may export the Multinode object twice, or a function under two names", () => {
  const mn = new Multinode();
  const one = mn.function(() => 1);
  expect([...discover({ mn, default: mn, one, same: one }).keys()]).toStrictEqual(["one"]);
  expect([...discover({ default: one, mn, one }).keys()]).toStrictEqual(["one"]);
});

test("what a CommonJS main exports is its default", () => {
  const mn = new Multinode();
  const one = mn.function(() => 1);
  expect([...discover({ default: { mn, one } }).keys()]).toStrictEqual(["one"]);
  expect([...discover({ mn, one, default: { two: 2 } }).keys()]).toStrictEqual(["one"]);
});

const belongsElsewhere = new Multinode().function(() => 1);
test.each<[string, () => object, RegExp]>([
  ["no Multinode object", () => ({ a: 1 }), /exports no Multinode object; add: export const mn/],
  ["two", () => ({ a: new Multinode(), b: new Multinode() }), /2 Multinode objects \("a" and "b"\)/],
  ["one of another", () => ({ mn: new Multinode(), belongsElsewhere }), /"belongsElsewhere", which belongs to another/],
  [
    "not exported",
    () => {
      const mn = new Multinode();
      mn.function(function hidden() {});
      return { mn };
    },
    /does not export \(hidden\); write: export const <name>/,
  ],
  [
    "duplicate",
    () => {
      const mn = new Multinode();
      return { mn, a: mn.function({ name: "b" }, () => 1), b: mn.function(() => 2) };
    },
    /two functions named "b" \("a" and "b"\)/,
  ],
  [
    "a bad name",
    () => {
      const mn = new Multinode();
      return { mn, $run: mn.function(() => 1) };
    },
    /the export "\$run" has the name "\$run", which is no function name/,
  ],
  [
    "a default export",
    () => {
      const mn = new Multinode();
      return { mn, default: mn.function(() => 1) };
    },
    /exports a function as default/,
  ],
])("%s is refused", (_, namespace, message) => {
  expect(() => discover(namespace())).toThrow(DefinitionError);
  expect(() => discover(namespace())).toThrow(message);
});

test("callLocal runs the code here, with a context, and drains a generator", async () => {
  const mn = new Multinode();
  const add = mn.function((a: number, b: number) => ({ sum: a + b, name: getContext().functionName }));
  const count = mn.function(async function* (to: number) {
    for (let n = 1; n <= to; n += 1) yield n;
  });
  const ending = mn.function(function* () {
    yield 1;
    return "end";
  });
  const checked = mn.function({ input: z.number().default(7) }, (n) => n * 2);
  discover({ mn, add, count, ending, checked });
  await expect(add.callLocal(1, 2)).resolves.toStrictEqual({ sum: 3, name: "add" });
  await expect(count.callLocal(3)).resolves.toBe(3);
  await expect(ending.callLocal()).resolves.toBe("end");
  await expect(checked.callLocal()).resolves.toBe(14);
  expect(() => getContext()).toThrow(/outside of a function/);
});

test("a generator is one by its methods, whoever made it; other iterators are values", async () => {
  const mn = new Multinode();
  const sync = mn.function(function* () {
    yield 1;
  });
  const compiled = mn.function(() => {
    const steps = [{ value: "last", done: false }, { done: true }];
    const self = { next: async () => steps.shift(), throw: async () => {}, return: async () => {} };
    return Object.assign(self, { [Symbol.asyncIterator]: () => self });
  });
  const entries = new Map([["a", 1]]);
  const iterator = mn.function(() => entries.values());
  await expect(sync.callLocal()).resolves.toBe(1);
  await expect(compiled.callLocal()).resolves.toBe("last");
  expect([...((await iterator.callLocal()) as Iterable<unknown>)]).toStrictEqual([1]);
});

test("the context under callLocal has what is documented, and nothing else", async () => {
  const keys = new Multinode().function(() => Object.keys(getContext()).sort());
  await expect(keys.callLocal()).resolves.toStrictEqual([
    "attemptNumber",
    "executionId",
    "functionName",
    "invocationId",
    "logger",
    "parentInvocationId",
    "projectName",
    "signal",
    "versionId",
  ]);
});

test("a remote method outside of a running function says what to use", async () => {
  const mn = new Multinode();
  const add = mn.function((a: number) => a);
  await expect(add.start(1)).rejects.toThrow(/getDeployedFunction.*callLocal/);
  const caller = mn.function(() => add.callRemote(1));
  await expect(caller.callLocal()).rejects.toThrow(DefinitionError);
});

test("types follow the handler and the schema", () => {
  const mn = new Multinode();
  const plain = mn.function({ cpu: 1 }, async (url: string, width?: number) => `${url} ${width}`);
  expectTypeOf(plain).toEqualTypeOf<DefinedFunction<[url: string, width?: number | undefined], string>>();
  const generator = mn.function(async function* (n: number) {
    yield n;
    return "done";
  });
  expectTypeOf(generator).toEqualTypeOf<DefinedFunction<[n: number], string, number | string>>();
  const early = mn.function(async function* (n: number) {
    yield n;
    if (n > 1) return "done";
  });
  expectTypeOf(early).toEqualTypeOf<DefinedFunction<[n: number], number | "done">>();
  const endless = mn.function(function* () {
    for (;;) yield 1;
  });
  expectTypeOf(endless).toEqualTypeOf<DefinedFunction<[], number>>();
  const progress = mn.function(function* () {
    yield 1;
  });
  expectTypeOf(progress).toEqualTypeOf<DefinedFunction<[], number>>();
  const single = mn.function({ input: z.object({ a: z.number().default(1) }) }, ({ a }) => a);
  expectTypeOf(single).toEqualTypeOf<DefinedFunction<[value: { a?: number | undefined }], number>>();
  const tuple = mn.function(
    { input: z.tuple([z.string(), z.string().transform(Number)]) },
    (text, n): [string, number] => [text, n],
  );
  expectTypeOf(tuple).toEqualTypeOf<DefinedFunction<[string, string], [string, number]>>();
});

test("an input schema gives the types of the arguments", () => {
  const mn = new Multinode();
  const optional = mn.function({ input: z.string().optional() }, (text) => text ?? "none");
  const anything = mn.function({ input: z.any() }, (value) => String(value));
  const shape = z.union([z.object({ side: z.number() }), z.object({ radius: z.number() })]);
  const area = mn.function({ input: shape }, (given) => ("side" in given ? given.side ** 2 : given.radius));
  const flag = mn.function({ input: z.boolean() }, (is) => is);
  const pair = mn.function({ input: z.tuple([z.string(), z.number().optional()]) }, (text, times = 1) =>
    text.repeat(times),
  );
  const list = mn.function({ input: z.array(z.string()) }, (texts) => texts.length);
  expectTypeOf<Parameters<typeof optional.start>>().toEqualTypeOf<[value?: string | undefined]>();
  expectTypeOf<Parameters<typeof area.start>>().toEqualTypeOf<[value: { side: number } | { radius: number }]>();
  expectTypeOf<Parameters<typeof flag.start>>().toEqualTypeOf<[value: boolean]>();
  expectTypeOf<Parameters<typeof pair.start>>().toEqualTypeOf<[string, (number | undefined)?]>();
  expectTypeOf<Parameters<typeof list.start>>().toEqualTypeOf<[string[]]>();
  expectTypeOf<Parameters<typeof anything.start>[0]>().toBeAny();
  const mapOf = (shapes: ({ side: number } | { radius: number })[]) => area.map(shapes);
  expectTypeOf(mapOf).returns.toEqualTypeOf<AsyncGenerator<number, void, undefined>>();
});

test("an output schema gives the types of what is recorded", async () => {
  const mn = new Multinode();
  const size = z.object({ width: z.number(), unit: z.enum(["px", "cm"]).default("px") });
  type Size = { width: number; unit: "px" | "cm" };
  const plain = mn.function({ output: size }, (width: number, unit?: "cm") => ({ width, unit }));
  expectTypeOf(plain).toEqualTypeOf<DefinedFunction<[width: number, unit?: "cm" | undefined], Size>>();
  const given = mn.function({ input: z.string(), output: size }, async (text) => ({ width: text.length, unit: "cm" }));
  expectTypeOf(given).toEqualTypeOf<DefinedFunction<[value: string], Size>>();
  const both = mn.function({ input: size, output: size }, async function* ({ width, unit }) {
    yield { width, unit };
    if (width > 1) return { width: width / 2 };
  });
  expectTypeOf(both).toEqualTypeOf<DefinedFunction<[value: { width: number; unit?: "px" | "cm" | undefined }], Size>>();
  const steps = z.union([z.number(), z.literal("done")]);
  const progress = mn.function({ output: steps }, function* (to: number) {
    yield to;
    return "done" as const;
  });
  expectTypeOf(progress).toEqualTypeOf<DefinedFunction<[to: number], number | "done">>();
  const pair = mn.function({ input: z.tuple([z.string()]), output: z.tuple([z.string(), z.number()]) }, (text) => [
    text,
    text.length,
  ]);
  expectTypeOf(pair).toEqualTypeOf<DefinedFunction<[string], [string, number]>>();
  const optional = mn.function({ output: z.string().optional() }, async (n: number) => (n > 1 ? "many" : undefined));
  expectTypeOf(optional).toEqualTypeOf<DefinedFunction<[n: number], string | undefined>>();
  const anything = mn.function({ output: z.any() }, () => 1);
  expectTypeOf<Awaited<ReturnType<typeof anything.callLocal>>>().toBeAny();
  const unknown = mn.function({ input: z.string(), output: z.unknown() }, function* (text) {
    yield text;
  });
  expectTypeOf(unknown).toEqualTypeOf<DefinedFunction<[value: string], unknown>>();

  const parsed = z.string().transform(Number).pipe(z.number());
  const transformed = mn.function({ output: parsed }, () => "5");
  expectTypeOf(transformed).toEqualTypeOf<DefinedFunction<[], number>>();
  await expect(transformed.callLocal()).resolves.toBe(5);
  const yields = mn.function({ output: parsed }, async function* () {
    yield "6";
  });
  expectTypeOf(yields).toEqualTypeOf<DefinedFunction<[], number>>();
  await expect(yields.callLocal()).resolves.toBe(6);
  const dated = () => mn.function({ output: z.coerce.date() }, () => "2026-01-02");
  expectTypeOf(dated).returns.toEqualTypeOf<DefinedFunction<[], Date>>();
});

test("options that do not tell whether there is an output schema leave the types to the handler", () => {
  const options: FunctionOptions = { memory: "1 GiB" };
  const mn = new Multinode();
  const length = mn.function({ ...options, input: z.string() }, (text) => text.length);
  expectTypeOf(length).toEqualTypeOf<DefinedFunction<[value: string], number>>();
  // @ts-expect-error: whether there is an input schema they must tell
  mn.function(options, (text: string) => text.length);
});

test("a handler that does not fit the output schema is refused by the compiler", () => {
  const mn = new Multinode();
  const output = z.number();
  const input = z.string();
  // @ts-expect-error: a value of another type
  mn.function({ output }, (text: string) => text);
  // @ts-expect-error: the same of an async function
  mn.function({ output }, async (text: string) => text);
  // @ts-expect-error: the same with an input schema
  mn.function({ input, output }, (text) => text);
  // @ts-expect-error: the same of an async function
  mn.function({ input, output }, async (text) => text);
  // @ts-expect-error: a value yielded
  mn.function({ output }, function* () {
    yield "one";
    return 1;
  });
  // @ts-expect-error: a value that a generator returns
  mn.function({ input, output }, async function* (text) {
    yield 1;
    return text;
  });
  // @ts-expect-error: only a generator may return nothing
  mn.function({ output }, () => {});
  // @ts-expect-error: what a transform is given, not what it makes
  mn.function({ output: z.string().transform(Number).pipe(output) }, () => 5);
  const record = z.record(z.string(), z.any());
  mn.function({ output: record }, async () => ({ n: 1 }));
  // @ts-expect-error: a promise, for all that it is a record of anything
  mn.function({ output: record }, async () => 1);
  // @ts-expect-error: the same of a generator
  mn.function({ output: record }, function* () {
    yield 1;
  });
});
