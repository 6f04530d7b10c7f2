import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { bundleMain } from "./esbuild_bundle.js";
import { findMain } from "./find_main.js";
import { makeProject } from "./testing/test_project.js";

const SDK_NAMES = ["Multinode", "getContext"];

async function bundle(directory: string) {
  return bundleMain(await findMain(directory), SDK_NAMES);
}

/** Runs a bundle with a stand-in for the SDK and returns what it printed. */
async function run(directory: string, code: Uint8Array): Promise<string> {
  const file = join(directory, "out.mjs");
  await writeFile(file, code);
  const sdk = 'globalThis[Symbol.for("multinode.sdk")] = { Multinode: class Multinode {}, getContext() {} };';
  const program = `${sdk} await import(${JSON.stringify(file)});`;
  const done = spawnSync(process.execPath, ["--enable-source-maps", "--input-type=module", "-e", program], {
    encoding: "utf8",
    timeout: 10_000,
  });
  return done.stdout + done.stderr;
}

test("TypeScript, with what it imports, and the SDK taken from the process", async () => {
  await using project = await makeProject({
    "main.ts": `import { Multinode } from "multinode";
      import { twice } from "./lib/twice.js";
      import type { Never } from "./never.js";
      const n: number = twice(21); console.log(n, Multinode.name);`,
    "lib/twice.ts": "export const twice = (n: number): number => n * 2;",
  });
  const { code, external } = await bundle(project.directory);
  expect(external.size).toBe(0);
  expect(await run(project.directory, code)).toBe("42 Multinode\n");
});

test("a CommonJS dependency that requires a builtin and reads __dirname", async () => {
  await using project = await makeProject({
    "main.js": 'import old from "old"; const require = 1; console.log(old, require);',
    "node_modules/old/package.json": { name: "old", main: "index.js" },
    "node_modules/old/index.js": 'module.exports = [require("node:path").basename("a/b"), typeof __dirname].join();',
  });
  const { code } = await bundle(project.directory);
  expect(await run(project.directory, code)).toBe("b,string 1\n");
});

test("a variable called require of the user's own", async () => {
  await using project = await makeProject({
    "main.ts": `import { createRequire } from "node:module";
      const require = createRequire(import.meta.url);
      const __dirname = import.meta.dirname;
      console.log(require("node:path").basename("a/b"), typeof __dirname);`,
  });
  const { code } = await bundle(project.directory);
  expect(await run(project.directory, code)).toBe("b string\n");
});

test("the place of an error is the place in the source", async () => {
  await using project = await makeProject({
    "main.ts": 'import "old";\nimport { fail } from "./lib/fail.js";\nfail();',
    "lib/fail.ts": 'interface A { a: 1 }\n\nexport function fail(): A {\n  throw new Error("no");\n}',
    "node_modules/old/package.json": { name: "old", main: "index.js" },
    "node_modules/old/index.js": 'require("node:path");',
  });
  const { code } = await bundle(project.directory);
  expect(await run(project.directory, code)).toContain("lib/fail.ts:4:9");
});

test("the same project in another folder gives the same bytes", async () => {
  const files = {
    "main.ts": 'import { x } from "./x.js"; import y from "y"; console.log(x, y);',
    "x.ts": "export const x = 1;",
    "node_modules/y/package.json": { name: "y" },
    "node_modules/y/index.js": "module.exports = 2;",
  };
  await using one = await makeProject(files);
  await using other = await makeProject(files);
  expect((await bundle(one.directory)).code).toEqual((await bundle(other.directory)).code);
});

test("packages with native code stay outside", async () => {
  await using project = await makeProject({
    "main.ts": `import direct from "direct"; import "@scope/platform/sub.js"; import loader from "loader"; import plain from "plain";
      import esm from "esm"; console.log(direct, loader, plain, esm);`,
    "node_modules/direct/package.json": { name: "direct", main: "index.js" },
    "node_modules/direct/index.js": 'module.exports = require("./build/Release/direct.node");',
    "node_modules/direct/build/Release/direct.node": "ELF",
    "node_modules/@scope/platform/package.json": {
      name: "@scope/platform",
      optionalDependencies: { "platform-linux": "1" },
    },
    "node_modules/@scope/platform/sub.js": "",
    "node_modules/platform-linux/package.json": { name: "platform-linux" },
    "node_modules/platform-linux/lib/it.node": "ELF",
    "node_modules/loader/package.json": { name: "loader", dependencies: { bindings: "1" } },
    "node_modules/loader/index.js": "module.exports = 3;",
    "node_modules/esm/package.json": { name: "esm", type: "module", exports: "./index.js", gypfile: true },
    "node_modules/esm/index.js": "export default 5;",
    "node_modules/plain/package.json": { name: "plain" },
    "node_modules/plain/index.js": "module.exports = 4;",
  });
  const { external, code } = await bundle(project.directory);
  expect([...external].map(([name, { reason }]) => `${name}: ${reason}`).toSorted()).toEqual([
    "@scope/platform: native code",
    "direct: native code",
    "esm: native code",
    "loader: native code",
  ]);
  expect(Buffer.from(code).toString()).toContain('require("@scope/platform/sub.js")');
  expect(Buffer.from(code).toString()).toContain('import esm from "esm"');
});

test("packages listed in package.json stay outside, and come along where no import names them", async () => {
  await using project = await makeProject({
    "main.ts": 'import "plain";',
    "package.json": { multinode: { external: ["plain", "by-name", "not-installed"] } },
    "node_modules/plain/package.json": { name: "plain" },
    "node_modules/plain/index.js": "",
    "node_modules/by-name/package.json": { name: "by-name" },
  });
  expect([...(await bundle(project.directory)).external.keys()]).toEqual(["plain", "by-name"]);
});

test("packages that find their own files by where they lie stay outside", async () => {
  const asking = (name: string, code: string) => ({
    [`node_modules/${name}/package.json`]: { name },
    [`node_modules/${name}/index.js`]: code,
  });
  await using project = await makeProject({
    "main.ts": `import dirname from "dirname"; import url from "url-of"; import { used } from "unused"; import said from "said";
      console.log(dirname, url, used, said, __dirname.length > 0);`,
    ...asking("dirname", 'module.exports = require("node:fs").readFileSync(__dirname + "/data.txt", "utf8");'),
    "node_modules/dirname/data.txt": "one",
    "node_modules/url-of/package.json": { name: "url-of", type: "module", exports: "./index.js" },
    "node_modules/url-of/index.js":
      'import { readFileSync } from "node:fs"; export default readFileSync(new URL("data.txt", import.meta.url), "utf8");',
    "node_modules/url-of/data.txt": "two",
    "node_modules/unused/package.json": { name: "unused", type: "module", sideEffects: false, exports: "./index.js" },
    "node_modules/unused/index.js": 'export { place } from "./place.js"; export const used = 3;',
    "node_modules/unused/place.js": "export const place = import.meta.url;",
    ...asking("said", '/* __dirname */ var __filename = "import.meta.url"; module.exports = __filename;'),
  });
  const { external, code } = await bundle(project.directory);
  expect([...external].map(([name, { reason }]) => `${name}: ${reason}`).toSorted()).toEqual([
    "dirname: reads its own files",
    "url-of: reads its own files",
  ]);
  expect(await run(project.directory, code)).toBe("one two 3 import.meta.url true\n");
});

test("a package has the same exports outside as inside", async () => {
  const code = `Object.defineProperty(exports, "__esModule", { value: true });
    for (const name of ["one", "two"]) exports[name] = name;
    exports.default = "default";`;
  await using project = await makeProject({
    "main.ts":
      'import inside, { one } from "inside"; import outside, { two } from "outside"; console.log(inside, one, outside, two);',
    "node_modules/inside/package.json": { name: "inside" },
    "node_modules/inside/index.js": code,
    "node_modules/outside/package.json": { name: "outside" },
    "node_modules/outside/index.js": `exports.place = __dirname; ${code}`,
  });
  const bundled = await bundle(project.directory);
  expect([...bundled.external.keys()]).toEqual(["outside"]);
  expect(await run(project.directory, bundled.code)).toBe("default one default two\n");
});

test("what a package outside depends on is there once, and another version of it still is bundled", async () => {
  const version = (folder: string, number: string) => ({
    [`${folder}/package.json`]: { name: "shared", version: number },
    [`${folder}/index.js`]: `exports.Shared = class Shared {}; exports.version = ${number};`,
  });
  await using project = await makeProject({
    "main.ts": `import { make } from "outside"; import { Shared, version } from "shared"; import old from "old";
      console.log(make() instanceof Shared, version, old);`,
    "node_modules/outside/package.json": { name: "outside", dependencies: { shared: "2" } },
    "node_modules/outside/index.js": `const { Shared } = require("shared"); exports.make = () => new Shared(); exports.place = __dirname;`,
    ...version("node_modules/shared", "2"),
    "node_modules/old/package.json": { name: "old", dependencies: { shared: "1" } },
    "node_modules/old/index.js": 'module.exports = require("shared").version;',
    ...version("node_modules/old/node_modules/shared", "1"),
  });
  const { external, code } = await bundle(project.directory);
  expect([...external.keys()]).toEqual(["outside", "shared"]);
  expect(await run(project.directory, code)).toBe("true 2 1\n");
});

test.each([
  ["a syntax error", "const a = ;\n", /^main\.ts:1:11: Unexpected ";"/, /Mend main\.ts/],
  [
    "a missing package",
    '\n import x from "nope/sub"; x();',
    /^main\.ts:2:16: Could not resolve "nope\/sub"/,
    /npm install nope/,
  ],
  ["a missing file", 'import "./nope.js";', /^main\.ts:1:8: Could not resolve "\.\/nope\.js"/, /Mend main\.ts/],
  [
    "native code of the project's own",
    'import "./x.node";',
    /main\.ts:1:8: "\.\/x\.node" is native code/,
    /package of its own/,
  ],
])("%s is refused with its place", async (_what, main, message, hint) => {
  await using project = await makeProject({ "main.ts": main, "x.node": "ELF" });
  await expect(bundle(project.directory)).rejects.toMatchObject({
    name: "ProjectError",
    message: expect.stringMatching(message),
    hint: expect.stringMatching(hint),
  });
});

test("what a package loads only when it is used, and is not installed, fails where it is reached", async () => {
  await using project = await makeProject({
    "main.js":
      'import { use } from "query"; console.log(use("one")); try { use("two"); } catch ({ code }) { console.log(code); }',
    "node_modules/query/package.json": { name: "query", main: "index.js" },
    "node_modules/query/index.js": `exports.use = (name) => {
      if (name === "one") return require("one");
      if (name === "two") return require("two/promise");
      return import("three");
    };`,
    "node_modules/one/package.json": { name: "one", main: "index.js" },
    "node_modules/one/index.js": "module.exports = 1;",
  });
  const { code } = await bundle(project.directory);
  expect(await run(project.directory, code)).toBe("1\nMODULE_NOT_FOUND\n");
});

test.each([
  ["of a package at its start", "main.js", 'import "query";', 'import "two";'],
  ["of the project itself", "main.js", 'import "query"; await import("two");', ""],
])("an import %s that is not installed is refused", async (_, name, main, inPackage) => {
  await using project = await makeProject({
    [name]: main,
    "node_modules/query/package.json": { name: "query", type: "module", main: "index.js" },
    "node_modules/query/index.js": inPackage,
  });
  await expect(bundle(project.directory)).rejects.toThrow('Could not resolve "two"');
});

test("a list of external packages that is none is refused", async () => {
  await using project = await makeProject({ "main.ts": "", "package.json": { multinode: { external: "x" } } });
  await expect(bundle(project.directory)).rejects.toThrow("not a list of package names");
});
