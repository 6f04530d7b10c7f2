import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("the package that npm packs has what it runs, its types, a README and a licence", async () => {
  const cwd = fileURLToPath(new URL("..", import.meta.url));
  const { stdout } = await promisify(execFile)("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], { cwd });
  const [packed] = Object.values(JSON.parse(stdout) as Record<string, { files: { path: string }[] }>);
  const paths = packed?.files.map(({ path }) => path);
  const wanted = ["package.json", "README.md", "LICENSE", "dist/index.js", "dist/cli.js", "dist/types/index.d.ts"];
  expect(paths).toEqual(expect.arrayContaining(wanted));
  expect(paths?.filter((path) => !path.startsWith("dist/")).toSorted()).toEqual([
    "LICENSE",
    "README.md",
    "package.json",
  ]);
});
