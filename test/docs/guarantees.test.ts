/** Each guarantee names tests, by a link and the name in quotes behind it. They exist. */
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { readDocument } from "./documents.js";
import { tableRows } from "./tables.js";

const PAGE = "docs/guarantees.md";
const SOURCE = /\[[^\]]+\]\(([^)]+)\)([^·]*)/g;

const rows = tableRows(readDocument(PAGE).text, ["#", "guarantee", "tests"]);

test.each(rows.map(([number = "", , tests = ""]) => [number, tests]))("the tests of %s exist", (_number, tests) => {
  const sources = [...tests.matchAll(SOURCE)].map(([, path = "", names = ""]) => ({ path, names }));
  expect(sources.length).toBeGreaterThan(0);
  const missing = sources.flatMap(({ path, names }) => {
    const { text } = readDocument(join(dirname(PAGE), path));
    return [...names.matchAll(/"([^"]+)"/g)].map(([, name = ""]) => name).filter((name) => !text.includes(name));
  });
  expect(missing).toEqual([]);
});
