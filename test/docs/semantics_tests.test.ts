import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { REPOSITORY, readDocument } from "./documents.js";
import { tableRows } from "./tables.js";

const rows = tableRows(readDocument("docs/semantics-tests.md").text, ["Sentence", "Test"]);
const named = rows.flatMap(([sentence = "", tests = ""]) =>
  tests.split("<br>").map((reference) => {
    const [file = "", ...name] = reference.split(" › ");
    return { sentence, file: file.includes("/") ? file : `test/e2e/${file}`, name: name.join(" › ") };
  }),
);

test("the document names a test for each sentence", () => {
  expect(rows.length).toBeGreaterThan(100);
  expect(named.filter(({ file, name }) => file === "test/e2e/" || name === "")).toEqual([]);
});

test("every test that it names exists", () => {
  const sources = new Map<string, string>();
  const missing = named.filter(({ file, name }) => {
    const path = join(REPOSITORY, file);
    const source = sources.get(file) ?? (existsSync(path) ? readFileSync(path, "utf8") : "");
    sources.set(file, source);
    return !source.includes(`"${name}"`);
  });
  expect(missing).toEqual([]);
});
