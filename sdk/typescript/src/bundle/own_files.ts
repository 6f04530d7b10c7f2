import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Metafile, transform } from "esbuild";
import { nameIn, owningPackage, type PackageFolder } from "./native_package.js";

/** How code asks where it lies, which has another answer in a bundle. */
const PLACES = [
  "__dirname",
  "__filename",
  "import.meta.dirname",
  "import.meta.filename",
  "import.meta.resolve",
  "import.meta.url",
  "require.resolve",
];
/** Cheap, and true for a few files that do not ask: they have a comment, or a variable of that name. */
const MAY_ASK = /\b__(?:dir|file)name\b|\bimport\.meta\b|\brequire\.resolve\b/;
/** Not what esbuild marks with a prefix, such as "(disabled):", which is no file. */
const FILE_OF_PACKAGE = /^[^:]*\bnode_modules\/.*\.[cm]?js$/;
const IN_PACKAGES = "node_modules/";
const MARK = "__multinodeOwnPlace";

/**
 * Packages in a bundle whose code finds files of its own by where it lies: fonts, WebAssembly, the program of a thread.
 * Code that the bundle leaves out does not count.
 */
export async function packagesReadingOwnFiles(
  { outputs }: Metafile,
  directory: string,
): Promise<ReadonlyMap<string, PackageFolder>> {
  const reading = new Map<string, PackageFolder>();
  for (const [path, { bytesInOutput }] of Object.values(outputs).flatMap(({ inputs }) => Object.entries(inputs))) {
    if (bytesInOutput === 0 || !FILE_OF_PACKAGE.test(path)) continue;
    const file = join(directory, path);
    if (!(await asksForPlace(readFileSync(file, "utf8")))) continue;
    const name = nameIn(path.slice(path.lastIndexOf(IN_PACKAGES) + IN_PACKAGES.length));
    const owner = owningPackage(file);
    if (owner !== undefined && !reading.has(name)) reading.set(name, owner);
  }
  return reading;
}

/** esbuild, not a pattern, says so: it knows comments, texts, and variables that are called so. */
async function asksForPlace(text: string): Promise<boolean> {
  if (!MAY_ASK.test(text)) return false;
  const define = Object.fromEntries(PLACES.map((place) => [place, MARK]));
  const { code } = await transform(text, { define, legalComments: "none", logLevel: "silent" });
  return code.includes(MARK);
}
