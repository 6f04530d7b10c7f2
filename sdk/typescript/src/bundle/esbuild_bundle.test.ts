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
      console.log(direct, loader, plain);`,
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
    "node_modules/plain/package.json": { name: "plain" },
    "node_modules/plain/index.js": "module.exports = 4;",
  });
  const { external, code } = await bundle(project.directory);
  expect([...external.keys()].toSorted()).toEqual(["@scope/platform", "direct", "loader"]);
  expect(Buffer.from(code).toString()).toContain('import "@scope/platform/sub.js"');
});

test("packages listed in package.json stay outside", async () => {
  await using project = await makeProject({
    "main.ts": 'import "plain";',
    "package.json": { multinode: { external: ["plain"] } },
    "node_modules/plain/package.json": { name: "plain" },
    "node_modules/plain/index.js": "",
  });
  expect([...(await bundle(project.directory)).external.keys()]).toEqual(["plain"]);
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

test("a list of external packages that is none is refused", async () => {
  await using project = await makeProject({ "main.ts": "", "package.json": { multinode: { external: "x" } } });
  await expect(bundle(project.directory)).rejects.toThrow("not a list of package names");
});
