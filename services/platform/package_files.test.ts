import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { packageFile } from "./package_files.js";

test("the files of the package are found from the sources of a checkout", () => {
  expect(existsSync(packageFile("worker.cjs"))).toBe(true);
  expect(() => packageFile("no_such_file.js")).toThrow("no_such_file.js is missing: build the package first");
});
