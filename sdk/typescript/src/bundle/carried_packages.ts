import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import { LIMITS } from "../protocol/limits.js";
import type { ArchiveFile } from "./archive.js";
import type { ExternalPackage, ExternalReason } from "./external_plugin.js";
import { type PackageFolder, readPackage, resolvePackage } from "./native_package.js";
import { ProjectError } from "./project_error.js";

export interface CarriedPackage {
  readonly name: string;
  /** Empty where its package.json has none. */
  readonly version: string;
  /** Where it lies in the archive, such as "node_modules/sharp". */
  readonly path: string;
  /** Size of its files, unpacked. */
  readonly bytes: number;
  /** Why it is not bundled. Undefined: one that is not depends on it. */
  readonly reason: ExternalReason | undefined;
}

export interface CarriedPackages {
  readonly packages: readonly CarriedPackage[];
  readonly files: ReadonlyMap<string, ArchiveFile>;
}

/** What only a compiler needs: object files, and the sources of native code. */
const NOT_CARRIED_FILES = /\.(?:o|a|obj|lib|pdb|c|cc|cpp|cxx|h|hpp|gyp|gypi|mk)$/;
const NOT_CARRIED_FOLDERS = new Set(["node_modules", ".git", "obj.target", ".deps"]);

/** The packages that could not be bundled, and all that they depend on, as a node_modules folder. */
export function carryPackages(external: ReadonlyMap<string, ExternalPackage>): CarriedPackages {
  return readAll(placePackages(external), external);
}

/**
 * Lays out packages, and all that they depend on, in a node_modules folder. Answers them by their paths in it.
 *
 * A package goes to the top where its name is free there or stands for the same folder, else below the package that
 * needs it, so that Node finds for each the very copy that it finds in the project.
 */
export function placePackages(external: ReadonlyMap<string, PackageFolder>): ReadonlyMap<string, PackageFolder> {
  const placed = new Map<string, PackageFolder>();
  const waiting: string[] = [];
  const place = (path: string, found: PackageFolder): void => {
    placed.set(path, found);
    waiting.push(path);
  };
  // In order, so that the same project gives the same archive.
  const roots = [...external].toSorted(([a], [b]) => (a < b ? -1 : 1));
  for (const [name, found] of roots) place(`node_modules/${name}`, found);

  // Breadth first, so that what lies nearer to the top is placed before anything below asks what it would find there.
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    const owner = placed.get(path);
    if (owner === undefined) continue;
    for (const { name, found } of dependenciesOf(owner)) {
      const visible = visibleFrom(path, name, placed);
      if (visible === undefined) place(`node_modules/${name}`, found);
      else if (placed.get(visible)?.directory !== found.directory) place(`${path}/node_modules/${name}`, found);
    }
  }
  return placed;
}

/** Path at which Node, from the package at `path`, finds package `name` among those placed so far. */
function visibleFrom(path: string, name: string, placed: ReadonlyMap<string, PackageFolder>): string | undefined {
  for (let folder = path; ; folder = posix.dirname(folder)) {
    const candidate = posix.join(folder, "node_modules", name);
    if (placed.has(candidate)) return candidate;
    if (folder === ".") return undefined;
  }
}

function dependenciesOf(owner: PackageFolder): { name: string; found: PackageFolder }[] {
  const { dependencies, optionalDependencies, peerDependencies, peerDependenciesMeta } = owner.manifest;
  // Some name what they can do without there alone.
  const lists = [dependencies, optionalDependencies, peerDependencies, peerDependenciesMeta];
  const names = new Set(lists.flatMap((list) => Object.keys(list ?? {})));
  const result: { name: string; found: PackageFolder }[] = [];
  for (const name of [...names].toSorted()) {
    const directory = resolvePackage(name, owner.directory);
    if (directory !== undefined) {
      result.push({ name, found: readPackage(realpathSync(directory), name) });
    } else if (dependencies?.[name] !== undefined && optionalDependencies?.[name] === undefined) {
      throw new ProjectError(
        `The package "${owner.name}" needs "${name}", which is not installed.`,
        'Run "npm install".',
      );
    }
  }
  return result;
}

function readAll(
  placed: ReadonlyMap<string, PackageFolder>,
  external: ReadonlyMap<string, ExternalPackage>,
): CarriedPackages {
  const files = new Map<string, ArchiveFile>();
  const packages: CarriedPackage[] = [];
  let totalBytes = 0;
  for (const [path, { name, directory, manifest }] of placed) {
    let bytes = 0;
    for (const { relative, absolute } of filesOf(directory)) {
      const { size, mode } = statSync(absolute);
      bytes += size;
      totalBytes += size;
      if (totalBytes > LIMITS.bundleUnpackedBytes || files.size >= LIMITS.bundleEntries) throw tooLarge(packages, name);
      files.set(`${path}/${relative}`, { data: readFileSync(absolute), executable: (mode & 0o100) !== 0 });
    }
    const reason = external.get(path.slice("node_modules/".length))?.reason;
    packages.push({ name, version: manifest.version ?? "", path, bytes, reason });
  }
  return { packages, files };
}

/** Files of a package. A symbolic link is carried as what it points to, and left out where that is nothing or a folder around it. */
function* filesOf(directory: string, below = ""): Generator<{ relative: string; absolute: string }> {
  for (const name of readdirSync(directory).toSorted()) {
    const absolute = join(directory, name);
    if (!existsSync(absolute)) continue;
    const relative = below === "" ? name : `${below}/${name}`;
    if (statSync(absolute).isDirectory()) {
      const isAround = `${realpathSync(directory)}/`.startsWith(`${realpathSync(absolute)}/`);
      if (!NOT_CARRIED_FOLDERS.has(name) && !isAround) yield* filesOf(absolute, relative);
    } else if (!NOT_CARRIED_FILES.test(name)) {
      yield { relative, absolute };
    }
  }
}

function tooLarge(packages: readonly CarriedPackage[], current: string): ProjectError {
  const largest = packages.toSorted((a, b) => b.bytes - a.bytes)[0]?.name ?? current;
  return new ProjectError(
    `The packages that cannot be bundled exceed ${LIMITS.bundleUnpackedBytes} bytes or ${LIMITS.bundleEntries} files; the largest is "${largest}".`,
    "Depend on fewer of them.",
  );
}
