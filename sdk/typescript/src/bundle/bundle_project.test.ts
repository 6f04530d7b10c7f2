import { symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bundleProject } from "./bundle_project.js";
import { type BuiltPrograms, buildPrograms } from "./testing/build_program.js";
import { makeProject } from "./testing/test_project.js";

const SDK_NAMES = ["Multinode", "getContext", "getDeployedFunction"];

let programs: BuiltPrograms;
beforeAll(async () => {
  programs = await buildPrograms({ inspect_child: "bundle/inspect_child.ts" });
});
afterAll(() => programs[Symbol.asyncDispose]());

async function bundle(directory: string, importTimeoutMs?: number) {
  const childFile = programs.file("inspect_child");
  return bundleProject(directory, {
    sdkNames: SDK_NAMES,
    childFile,
    ...(importTimeoutMs === undefined ? {} : { importTimeoutMs }),
  });
}

const MAIN = 'import { Multinode } from "multinode";\nexport const mn = new Multinode();\n';

test("functions, with their options and the variables of .env", async () => {
  await using project = await makeProject({
    ".env": "GREETING=hello",
    "main.ts": `${MAIN}
      if (process.env.GREETING !== "hello") throw new Error("no .env");
      console.log("printing hurts nobody");
      setInterval(() => {}, 1_000);
      export const plain = mn.function((n: number) => n);
      export const large = mn.function({ memory: "1 GiB", maxRetries: 2, name: "renamed" }, async function* () { yield 1; });`,
  });
  const { functions, environment, carried, warnings, archive } = await bundle(project.directory);
  expect(functions.map(({ functionName }) => functionName).toSorted()).toEqual(["plain", "renamed"]);
  expect(functions.find(({ functionName }) => functionName === "renamed")?.options).toMatchObject({
    memoryBytes: 1024 ** 3,
    maxRetries: 2,
  });
  expect({ environment, carried, warnings }).toEqual({ environment: { GREETING: "hello" }, carried: [], warnings: [] });
  expect((await bundle(project.directory)).archive.digest).toBe(archive.digest);
});

test("variables of .env are not expanded, and give Node no options", async () => {
  await using project = await makeProject({
    ".env": "A=one\nB=$A/${A}\nNODE_OPTIONS=--require=./no/such/file.cjs",
    "main.ts": `${MAIN}export const f = mn.function({ name: process.env.B === "$A/\${A}" ? "same" : "expanded" }, () => 1);`,
  });
  const { functions, environment } = await bundle(project.directory);
  expect(functions).toMatchObject([{ functionName: "same" }]);
  expect(environment).toEqual({ A: "one", B: "$A/${A}", NODE_OPTIONS: "--require=./no/such/file.cjs" });
});

test("schemas of a zod that the project brings itself", async () => {
  await using project = await makeProject({
    "main.ts": `${MAIN}import { z } from "zod";
      export const f = mn.function({ input: z.object({ url: z.string() }), output: z.number() }, (x) => x.url.length);`,
    "node_modules/.keep": "",
  });
  await symlink(dirname(fileURLToPath(import.meta.resolve("zod"))), join(project.directory, "node_modules/zod"));
  const [found] = (await bundle(project.directory)).functions;
  expect(JSON.parse(found?.inputSchema ?? "")).toMatchObject({ type: "array" });
  expect(JSON.parse(found?.outputSchema ?? "")).toMatchObject({ type: "number" });
});

test("a package with native code is carried and found", async () => {
  await using project = await makeProject({
    "main.ts": `${MAIN}import native from "native";
      export const f = mn.function({ maxRetries: native }, () => 1);`,
    "node_modules/native/package.json": { name: "native", version: "1.0.0", dependencies: { dep: "1" } },
    "node_modules/native/index.js": 'module.exports = require("dep");',
    "node_modules/native/build/it.node": "ELF",
    "node_modules/dep/package.json": { name: "dep" },
    "node_modules/dep/index.js": "module.exports = 7;",
  });
  const { carried, functions } = await bundle(project.directory);
  expect(carried.map(({ name }) => name)).toEqual(["native", "dep"]);
  expect(functions[0]?.options).toMatchObject({ maxRetries: 7 });
});

test.each<[string, string, RegExp, RegExp]>([
  ["no Multinode object", "export const x = 1;", /main\.ts: main exports no Multinode object/, /Change main\.ts/],
  [
    "two Multinode objects",
    `${MAIN}export const other = new Multinode();`,
    /exports 2 Multinode objects/,
    /Change main\.ts/,
  ],
  [
    "two functions of one name",
    `${MAIN}export const a = mn.function(() => 1); export const b = mn.function({ name: "a" }, () => 2);`,
    /two functions named "a"/,
    /Change main\.ts/,
  ],
  [
    "a function that is not exported",
    `${MAIN}mn.function(function hidden() {});`,
    /does not export \(hidden\)/,
    /Change/,
  ],
  [
    "a bad option",
    `${MAIN}export const a = mn.function({ cpu: 99 }, () => 1);`,
    /main\.ts:3:\d+: ParameterValidationError: bad function option: cpu: 99 must be/,
    /Mend main\.ts:3/,
  ],
  [
    "an import that throws",
    `import "./lib/deep.js";\n${MAIN}`,
    /^lib\/deep\.ts:2:7: TypeError: not today$/,
    /Mend lib\/deep\.ts:2:7/,
  ],
  ["an import that throws no error", `${MAIN}throw "just so";`, /main\.ts: Error: threw 'just so'/, /Mend main\.ts/],
  [
    "an error in a timer",
    `${MAIN}setTimeout(() => { throw new RangeError("later"); }); await new Promise(() => setTimeout(() => {}, 5_000));`,
    /RangeError: later/,
    /Mend/,
  ],
  [
    "a rejection that nobody handles",
    `${MAIN}Promise.reject(new RangeError("lost")); await new Promise((done) => setTimeout(done, 5_000));`,
    /RangeError: lost/,
    /Mend/,
  ],
  [
    "an await that never ends",
    `${MAIN}await new Promise(() => {});`,
    /an "await" outside of any function never ends/,
    /into a function/,
  ],
  [
    "an exit",
    `${MAIN}console.error("bye"); process.exit(3);`,
    /ended the process while it was imported \(exit status 3\)\.\nbye/,
    /process\.exit/,
  ],
  ["an abort", `${MAIN}process.abort();`, /signal SIGABRT/, /process\.exit/],
  ["an endless loop", `${MAIN}for (;;);`, /still being imported after 1 s/, /inside of a function/],
])("%s is refused", async (what, main, message, hint) => {
  await using project = await makeProject({
    "main.ts": main,
    "lib/deep.ts": 'type A = 1;\nthrow new TypeError("not today");',
  });
  await expect(bundle(project.directory, what === "an endless loop" ? 1_000 : undefined)).rejects.toMatchObject({
    name: "ProjectError",
    message: expect.stringMatching(message),
    hint: expect.stringMatching(hint),
  });
});

test.each<[string, string, RegExp, RegExp]>([
  [
    "a bundled package that does not find its file",
    `import "reading"; ${MAIN}`,
    /ENOENT/,
    /^Name "reading" under multinode\.external in package\.json: bundled, it does not find its files\.$/,
  ],
  [
    "a bundled package that throws",
    `import "@scope/throwing"; ${MAIN}`,
    /TypeError: no key/,
    /^Mend .+\. Only \.env .+ Name "@scope\/throwing" under multinode\.external in package\.json if it cannot be bundled\.$/,
  ],
  [
    "a package that no import shows",
    `import { createRequire } from "node:module"; createRequire(import.meta.url)("reading/sub"); ${MAIN}`,
    /Cannot find module 'reading\/sub'/,
    /^Name "reading" under multinode\.external in package\.json: no import shows that it is needed\.$/,
  ],
  [
    "a package that is not installed",
    `import { createRequire } from "node:module"; createRequire(import.meta.url)("@scope/nope/sub"); ${MAIN}`,
    /Cannot find module '@scope\/nope\/sub'/,
    /^Run "npm install @scope\/nope" in the project folder/,
  ],
  [
    "a file of the project that is read by path",
    `import { readFileSync } from "node:fs"; readFileSync(new URL("data.json", import.meta.url)); ${MAIN}`,
    /^main\.ts:1:\d+: Error: ENOENT: .* 'data\.json'$/,
    /^Files that main\.ts:1:\d+ finds by path are not deployed with it; import them/,
  ],
])("%s is refused with what to do", async (_what, main, message, hint) => {
  await using project = await makeProject({
    "main.ts": main,
    "data.json": "{}",
    "node_modules/reading/package.json": { name: "reading" },
    "node_modules/reading/index.js": 'require("node:fs").readFileSync("no/such/file");',
    "node_modules/@scope/throwing/package.json": { name: "@scope/throwing" },
    "node_modules/@scope/throwing/index.js": 'throw new TypeError("no key");',
  });
  await expect(bundle(project.directory)).rejects.toMatchObject({
    name: "ProjectError",
    message: expect.stringMatching(message),
    hint: expect.stringMatching(hint),
  });
});

test("an interruption ends it", async () => {
  await using project = await makeProject({ "main.ts": `${MAIN}for (;;);` });
  const signal = AbortSignal.timeout(300);
  const childFile = programs.file("inspect_child");
  await expect(bundleProject(project.directory, { sdkNames: SDK_NAMES, childFile, signal })).rejects.toMatchObject({
    name: "TimeoutError",
  });
});
