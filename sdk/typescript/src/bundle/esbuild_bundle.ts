import { realpathSync } from "node:fs";
import { isBuiltin } from "node:module";
import { join } from "node:path";
import { type BuildFailure, build, type Message, type Plugin } from "esbuild";
import type { ProjectFolder } from "./find_main.js";
import {
  isNative,
  owningPackage,
  type PackageFolder,
  readManifest,
  readPackage,
  resolvePackage,
} from "./native_package.js";
import { ProjectError } from "./project_error.js";
import { sdkModuleText } from "./sdk_module.js";

export interface BundledCode {
  /** The text of main.mjs, with an inline source map whose paths are relative to the project folder. */
  readonly code: Uint8Array;
  /** Packages that stayed outside and must lie in node_modules beside main.mjs, by name. */
  readonly external: ReadonlyMap<string, PackageFolder>;
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
  const external = new Map<string, PackageFolder>();
  const listed = listedExternal(folder.directory);
  try {
    const result = await build({
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
      // CommonJS dependencies name these; in an ES module they exist under other names.
      define: { __dirname: "import.meta.dirname", __filename: "import.meta.filename" },
      plugins: [sdkPlugin(sdkNames), externalPlugin(listed, external)],
    });
    const text = result.outputFiles[0]?.text ?? "";
    return { code: Buffer.from(withRequire(text)), external, warnings: result.warnings.map(describe) };
  } catch (error) {
    if (!isBuildFailure(error)) throw error;
    throw failureOf(error.errors, folder, error);
  }
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

/** Leaves packages with native code, and those listed in package.json, outside the bundle, and notes them in `external`. */
function externalPlugin(listed: ReadonlySet<string>, external: Map<string, PackageFolder>): Plugin {
  const native = new Map<string, boolean>();
  const isNativeOnce = (found: PackageFolder): boolean => {
    const known = native.get(found.directory) ?? isNative(found);
    native.set(found.directory, known);
    return known;
  };
  return {
    name: "multinode-external",
    setup(build) {
      build.onResolve({ filter: /^[^./]/ }, async (args) => {
        if (args.pluginData === "resolved" || args.kind === "entry-point" || isBuiltin(args.path)) return undefined;
        const { path, kind, importer, resolveDir, namespace, with: attributes } = args;
        const name = nameIn(path);
        if (listed.has(name)) {
          const directory = resolvePackage(name, resolveDir);
          if (directory === undefined) return undefined;
          note(external, name, readPackage(directory, name));
          return { path, external: true };
        }
        const options = { kind, importer, resolveDir, namespace, with: attributes, pluginData: "resolved" };
        const resolved = await build.resolve(path, options);
        const found = resolved.errors.length > 0 || resolved.external ? undefined : owningPackage(resolved.path);
        if (found === undefined || !isNativeOnce(found)) return undefined;
        note(external, name, found);
        return { path, external: true };
      });
      build.onResolve({ filter: /^[./].*\.node$/ }, (args) => ({
        errors: [{ text: `"${args.path}" is native code, which cannot be bundled`, notes: [{ text: NATIVE_HINT }] }],
      }));
    },
  };
}

const NATIVE_HINT = "Put it into a package of its own and add that to the dependencies in package.json.";

function note(external: Map<string, PackageFolder>, name: string, found: PackageFolder): void {
  const directory = realpathSync(found.directory);
  const earlier = external.get(name);
  if (earlier !== undefined && earlier.directory !== directory) {
    throw new ProjectError(
      `Two copies of the package "${name}" are needed, and it cannot be bundled: ${earlier.directory} and ${directory}.`,
      `Make all packages use one version of it, for example with "npm dedupe" or "overrides" in package.json.`,
    );
  }
  external.set(name, { ...found, directory });
}

/** "@scope/name/sub/path" → "@scope/name". */
function nameIn(specifier: string): string {
  const parts = specifier.split("/");
  return parts.slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
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
