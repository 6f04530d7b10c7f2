import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { REPOSITORY, readDocument } from "./documents.js";
import { tableRows } from "./tables.js";

const DOCUMENT = readDocument("docs/running-a-cluster.md").text;

test("docs/running-a-cluster.md lists every setting of the services, and no other", () => {
  const rows = tableRows(DOCUMENT, ["setting", "of", "is"]);
  const listed = rows.flatMap(([names = ""]) => names.split(", "));
  const sources = globSync("services/**/*.ts", { cwd: REPOSITORY }).filter((path) => !path.endsWith(".test.ts"));
  // A key of an object that `readSettings` is given.
  const names = sources.flatMap((path) => namesIn(path, /^\s*(MULTINODE_\w+): \S/gm));
  expect(listed.toSorted()).toEqual([...new Set(names)].toSorted());
});

test("docs/running-a-cluster.md names what docker-compose.yml takes from its environment", () => {
  const files = ["docker-compose.yml", "docker-compose.tls.yml"];
  // Within a value, or in place of one.
  const names = [/\$\{(MULTINODE_\w+)/g, /^ +(MULTINODE_\w+):$/gm].flatMap((pattern) =>
    files.flatMap((path) => namesIn(path, pattern)),
  );
  const [, section = ""] = /\n`docker-compose\.yml` sets ([^]*?)\n## /.exec(DOCUMENT) ?? [];
  expect([...new Set(names)].filter((name) => !section.includes(`\`${name}\``))).toEqual([]);
});

function namesIn(path: string, pattern: RegExp): string[] {
  return Array.from(readFileSync(join(REPOSITORY, path), "utf8").matchAll(pattern), ([, name = ""]) => name);
}
