import { join } from "node:path";
import { type BuildFailure, build, type Message, type Plugin } from "esbuild";
import { placePackages } from "./carried_packages.js";
import { type ExternalPackage, externalPlugin, NATIVE_HINT, note } from "./external_plugin.js";
import type { ProjectFolder } from "./find_main.js";
import { folderOf, nameIn, type PackageFolder, readManifest } from "./native_package.js";
import { packagesReadingOwnFiles } from "./own_files.js";
import { ProjectError } from "./project_error.js";
import { sdkModuleText } from "./sdk_module.js";

export interface BundledCode {
  /** The text of main.mjs, with an inline source map whose paths are relative to the project folder. */
  readonly code: Uint8Array;
  /** Packages that stayed outside and must lie in node_modules beside main.mjs, by name. */
  readonly external: ReadonlyMap<string, ExternalPackage>;
  /** What esbuild found odd, one line each. */
  readonly warnings: readonly string[];
}

/** Makes a CommonJS dependency's `require` of a builtin or a carried package work in an ES module. */
const REQUIRE_BANNER =
  'import{createRequire as __multinodeCreateRequire}from"node:module";const require=__multinodeCreateRequire(import.meta.url);';

/**
 * Bundles the main file of a project with all that it imports.
 *
 * @param sdkNames names that the SDK exports; imports of "multinode" are not bundled but read from the worker's SDK
 */
export async function bundleMain(folder: ProjectFolder, sdkNames: readonly string[]): Promise<BundledCode> {
  const listed = listedExternal(folder.directory);
  const external = new Map<string, ExternalPackage>();
  let result = await buildMain(folder, [sdkPlugin(sdkNames), externalPlugin(listed, new Map(), external)]);
  const reading = await packagesReadingOwnFiles(result.metafile, folder.directory);
  for (const [name, found] of reading) {
    if (!external.has(name)) external.set(name, { ...found, reason: "reads its own files" });
  }
  if (reading.size > 0) {
    // What is carried with them is not bundled too: of a package that is there twice neither copy knows the other's objects.
    const outside = topLevel(placePackages(external));
    result = await buildMain(folder, [sdkPlugin(sdkNames), externalPlugin(listed, outside, external)]);
  }
  for (const name of listed) {
    // Others load it by a name that no import shows, as loggers do their transports.
    const found = external.has(name) ? undefined : folderOf(name, folder.directory);
    if (found !== undefined) note(external, name, found, "listed in package.json");
  }
  const text = result.outputFiles[0]?.text ?? "";
  return { code: Buffer.from(withRequire(text)), external, warnings: result.warnings.map(describe) };
}

/** @returns with all that was read, for who asks what came into the bundle */
async function buildMain(folder: ProjectFolder, plugins: Plugin[]) {
  try {
    return await build({
      absWorkingDir: folder.directory,
      entryPoints: [folder.mainName],
      outfile: "main.mjs",
      write: false,
      bundle: true,
      platform: "node",
      format: "esm",
      target: "node22",
      keepNames: true,
      sourcemap: "inline",
      sourcesContent: false,
      legalComments: "none",
      charset: "utf8",
      logLevel: "silent",
      metafile: true,
      // CommonJS dependencies name these; in an ES module they exist under other names.
      define: { __dirname: "import.meta.dirname", __filename: "import.meta.filename" },
      plugins,
    });
  } catch (error) {
    if (!isBuildFailure(error)) throw error;
    throw failureOf(error.errors, folder, error);
  }
}

function topLevel(placed: ReadonlyMap<string, PackageFolder>): Map<string, PackageFolder> {
  const entries = [...placed].map(([path, found]) => [path.slice("node_modules/".length), found] as const);
  return new Map(entries.filter(([name]) => name === nameIn(name)));
}

/**
 * esbuild's own `__require` stands in the bundle only where something needs the global `require`, and then every user's
 * variable of that name has been renamed. Elsewhere the banner could collide with such a variable, and is not needed.
 * It goes onto the first line, which holds only esbuild's own text, so that the source map stays right.
 */
function withRequire(text: string): string {
  return /^var __require = /m.test(text) ? REQUIRE_BANNER + text : text;
}

function sdkPlugin(sdkNames: readonly string[]): Plugin {
  return {
    name: "multinode-sdk",
    setup(build) {
      build.onResolve({ filter: /^multinode$/ }, () => ({ path: "multinode", namespace: "multinode-sdk" }));
      build.onLoad({ filter: /.*/, namespace: "multinode-sdk" }, () => ({
        contents: sdkModuleText(sdkNames),
        loader: "js",
      }));
    },
  };
}

function listedExternal(directory: string): ReadonlySet<string> {
  const listed = readManifest(directory).multinode?.external;
  if (listed === undefined) return new Set();
  if (Array.isArray(listed) && listed.every((name) => typeof name === "string")) return new Set(listed);
  throw new ProjectError(
    'package.json: "multinode.external" is not a list of package names.',
    'Write it as {"multinode": {"external": ["some-package"]}}.',
  );
}

function isBuildFailure(error: unknown): error is BuildFailure {
  return error instanceof Error && "errors" in error && Array.isArray(error.errors);
}

function failureOf(messages: readonly Message[], folder: ProjectFolder, cause: BuildFailure): ProjectError {
  const thrown = messages.find((message) => message.detail instanceof ProjectError)?.detail;
  if (thrown instanceof ProjectError) return thrown;
  const shown = messages.slice(0, 5).map(describe);
  if (messages.length > shown.length) shown.push(`and ${messages.length - shown.length} more`);
  return new ProjectError(shown.join("\n"), hintFor(messages, folder), { cause });
}

function hintFor(messages: readonly Message[], folder: ProjectFolder): string {
  const noted = messages.flatMap((message) => message.notes).find((found) => found.text === NATIVE_HINT);
  if (noted !== undefined) return NATIVE_HINT;
  const missing = messages.map((message) => /^Could not resolve "([^"]+)"/.exec(message.text)?.[1]);
  const name = missing.find((found) => found !== undefined && !/^[./]/.test(found));
  if (name !== undefined) {
    return `Run "npm install ${nameIn(name)}" in ${folder.directory}, or mend the import.`;
  }
  return `Mend ${messages[0]?.location?.file ?? join(folder.directory, folder.mainName)} and deploy again.`;
}

/** A message of esbuild as one line: "main.ts:3:7: Could not resolve …". */
function describe({ text, location }: Message): string {
  if (location === null) return text;
  return `${location.file}:${location.line}:${location.column + 1}: ${text}`;
}
