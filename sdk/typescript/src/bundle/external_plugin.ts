import { existsSync, realpathSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, extname, join } from "node:path";
import type { ImportKind, OnResolveArgs, Plugin, PluginBuild } from "esbuild";
import { folderOf, isNative, nameIn, owningPackage, type PackageFolder, readManifest } from "./native_package.js";
import { ProjectError } from "./project_error.js";

/** Why a package is not bundled. */
export type ExternalReason = "native code" | "listed in package.json" | "reads its own files";

export interface ExternalPackage extends PackageFolder {
  /** Undefined: only because one that is not bundled depends on it. */
  readonly reason?: ExternalReason | undefined;
}

export const NATIVE_HINT = "Put it into a package of its own and add that to the dependencies in package.json.";

const NAMESPACE = "multinode-external";
const RESOLVED = "resolved";

/**
 * Leaves packages outside the bundle, and notes them in `external`: those with native code, those listed in package.json,
 * and those of `outside`.
 *
 * @param outside by the name under which they will be found beside the bundle
 */
export function externalPlugin(
  listed: ReadonlySet<string>,
  outside: ReadonlyMap<string, PackageFolder>,
  external: Map<string, ExternalPackage>,
): Plugin {
  const native = new Map<string, boolean>();
  const isNativeOnce = (found: PackageFolder): boolean => {
    const known = native.get(found.directory) ?? isNative(found);
    native.set(found.directory, known);
    return known;
  };
  return {
    name: NAMESPACE,
    setup(build) {
      build.onResolve({ filter: /^[^./]/ }, async (args) => {
        if (args.pluginData === RESOLVED || args.kind === "entry-point" || isBuiltin(args.path)) return undefined;
        if (args.namespace === NAMESPACE) return { path: args.path, external: true };
        const name = nameIn(args.path);
        const file = await resolvedFile(build, args);
        const found = listed.has(name) ? folderOf(name, args.resolveDir) : owningPackage(file ?? "");
        if (found === undefined)
          return file === undefined && isLate(args) ? { path: args.path, external: true } : undefined;
        if (listed.has(name)) note(external, name, found, "listed in package.json");
        else if (isNativeOnce(found)) note(external, name, found, "native code");
        else if (outside.get(name)?.directory === realpathSync(found.directory)) note(external, name, found);
        else return undefined;
        return (await needsRequire(build, args, file))
          ? { path: args.path, namespace: NAMESPACE }
          : { path: args.path, external: true };
      });
      build.onResolve({ filter: /^[./].*\.node$/ }, (args) => ({
        errors: [{ text: `"${args.path}" is native code, which cannot be bundled`, notes: [{ text: NATIVE_HINT }] }],
      }));
      build.onLoad({ filter: /.*/, namespace: NAMESPACE }, ({ path }) => ({
        contents: `module.exports = require(${JSON.stringify(path)});`,
        loader: "js",
      }));
    },
  };
}

/**
 * Whether a package loads it only when it is used, if at all: its other dialects, drivers and plugins, of which a project installs
 * one. Node then says what is missing where that is reached, as it does locally.
 */
function isLate({ kind, importer }: OnResolveArgs): boolean {
  return (kind === "require-call" || kind === "dynamic-import") && /[\\/]node_modules[\\/]/.test(importer);
}

/** Where an import leads, or undefined where nothing is found or esbuild itself leaves it out. */
async function resolvedFile(
  build: PluginBuild,
  { path, kind, importer, resolveDir, namespace, with: attributes }: OnResolveArgs,
  asKind: ImportKind = kind,
): Promise<string | undefined> {
  const options = { kind: asKind, importer, resolveDir, namespace, with: attributes, pluginData: RESOLVED };
  const resolved = await build.resolve(path, options);
  return resolved.errors.length > 0 || resolved.external ? undefined : resolved.path;
}

/**
 * Whether an import of a CommonJS module is to become a `require` of it. Then esbuild gives it the names and the default
 * that it would have inside of the bundle; Node, for an `import`, sees only some of the names.
 */
async function needsRequire(build: PluginBuild, args: OnResolveArgs, file: string | undefined): Promise<boolean> {
  if (args.kind !== "import-statement" && args.kind !== "dynamic-import") return false;
  if (file === undefined || isEsModule(file)) return false;
  return (await resolvedFile(build, args, "require-call")) === file;
}

function isEsModule(file: string): boolean {
  if (extname(file) !== ".js") return extname(file) === ".mjs";
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    if (existsSync(join(folder, "package.json"))) return readManifest(folder).type === "module";
    if (folder === dirname(folder)) return false;
  }
}

export function note(
  external: Map<string, ExternalPackage>,
  name: string,
  found: PackageFolder,
  reason?: ExternalReason,
): void {
  const directory = realpathSync(found.directory);
  const earlier = external.get(name);
  if (earlier !== undefined && earlier.directory !== directory) {
    throw new ProjectError(
      `Two copies of the package "${name}" are needed, and it cannot be bundled: ${earlier.directory} and ${directory}.`,
      `Make all packages use one version of it, for example with "npm dedupe" or "overrides" in package.json.`,
    );
  }
  external.set(name, { ...found, directory, reason: earlier?.reason ?? reason });
}
