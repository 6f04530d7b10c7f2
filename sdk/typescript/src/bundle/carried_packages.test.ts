import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { carryPackages } from "./carried_packages.js";
import { readPackage } from "./native_package.js";
import { makeProject } from "./testing/test_project.js";

function carry(directory: string, ...names: string[]) {
  return carryPackages(new Map(names.map((name) => [name, readPackage(join(directory, "node_modules", name), name)])));
}

test("a package comes with its files and with what it depends on, however deep", async () => {
  await using project = await makeProject({
    "node_modules/native/package.json": {
      name: "native",
      version: "1.2.3",
      dependencies: { a: "1" },
      optionalDependencies: { absent: "1" },
      devDependencies: { dev: "1" },
    },
    "node_modules/native/build/native.node": "ELF",
    "node_modules/native/src/native.cc": "int main;",
    "node_modules/a/package.json": { name: "a", dependencies: { b: "1" } },
    "node_modules/b/package.json": { name: "b", dependencies: { a: "1" } },
    "node_modules/dev/package.json": { name: "dev" },
  });
  const { packages, files } = carry(project.directory, "native");
  expect([...files.keys()].toSorted()).toEqual([
    "node_modules/a/package.json",
    "node_modules/b/package.json",
    "node_modules/native/build/native.node",
    "node_modules/native/package.json",
  ]);
  expect(packages[0]).toMatchObject({ name: "native", version: "1.2.3", path: "node_modules/native" });
});

test("a package comes with those of its optional peers that are installed", async () => {
  await using project = await makeProject({
    "node_modules/query/package.json": {
      name: "query",
      peerDependencies: { a: "1", absent: "1" },
      peerDependenciesMeta: { a: { optional: true }, b: { optional: true }, gone: { optional: true } },
    },
    "node_modules/a/package.json": { name: "a" },
    "node_modules/b/package.json": { name: "b" },
  });
  const { packages } = carry(project.directory, "query");
  expect(packages.map(({ name }) => name).toSorted()).toEqual(["a", "b", "query"]);
});

test("two versions of one package each lie where the package that needs them finds them", async () => {
  await using project = await makeProject({
    "node_modules/native/package.json": { name: "native", dependencies: { a: "1", b: "2" } },
    "node_modules/a/package.json": { name: "a", dependencies: { b: "1" } },
    "node_modules/b/package.json": { name: "b", version: "2.0.0" },
    "node_modules/a/node_modules/b/package.json": { name: "b", version: "1.0.0" },
  });
  const { packages } = carry(project.directory, "native");
  expect(packages.map(({ path, version }) => `${path} ${version}`).toSorted()).toEqual([
    "node_modules/a ",
    "node_modules/a/node_modules/b 1.0.0",
    "node_modules/b 2.0.0",
    "node_modules/native ",
  ]);
});

test("symbolic links are followed, and one in a circle is left out", async () => {
  await using project = await makeProject({
    "store/native/package.json": { name: "native" },
    "store/native/lib/index.js": "",
    "node_modules/.keep": "",
  });
  await symlink(join(project.directory, "store/native"), join(project.directory, "node_modules/native"));
  await symlink("..", join(project.directory, "store/native/lib/around"));
  await symlink("nowhere", join(project.directory, "store/native/lib/dangling"));
  const { files } = carry(project.directory, "native");
  expect([...files.keys()]).toEqual(["node_modules/native/lib/index.js", "node_modules/native/package.json"]);
});

test("a dependency that is not installed is named", async () => {
  await using project = await makeProject({
    "node_modules/native/package.json": { name: "native", dependencies: { gone: "1" } },
  });
  expect(() => carry(project.directory, "native")).toThrow(
    'The package "native" needs "gone", which is not installed.',
  );
});
