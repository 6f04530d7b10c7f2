import { type Dirent, existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, sep } from "node:path";

export interface PackageFolder {
  /** Name as package.json has it, or as the folder in node_modules is called. */
  readonly name: string;
  /** Absolute path of the folder, symbolic links followed. */
  readonly directory: string;
  readonly manifest: PackageManifest;
}

export interface PackageManifest {
  readonly name?: string;
  readonly version?: string;
  readonly type?: string;
  readonly gypfile?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, unknown>>;
  readonly multinode?: { readonly external?: unknown };
}

/** Entries that a search for native code looks at in one package; larger packages are taken for plain JavaScript beyond it. */
const SEARCH_ENTRIES = 20_000;

/** What packages with native code use to find it at run time, by a path relative to their own files. */
const NATIVE_LOADERS = [
  "bindings",
  "node-gyp-build",
  "node-gyp-build-optional-packages",
  "node-pre-gyp",
  "@mapbox/node-pre-gyp",
  "prebuild-install",
];

/** The package that a file in node_modules belongs to, or undefined for a file of the project itself. */
export function owningPackage(file: string): PackageFolder | undefined {
  const marker = `${sep}node_modules${sep}`;
  const at = file.lastIndexOf(marker);
  if (at < 0) return undefined;
  const name = nameIn(
    file
      .slice(at + marker.length)
      .split(sep)
      .join("/"),
  );
  return readPackage(join(file.slice(0, at + marker.length), name), name);
}

/** "@scope/name/sub/path" → "@scope/name". */
export function nameIn(specifier: string): string {
  const parts = specifier.split("/");
  return parts.slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
}

/** Finds package `name` as Node does for a file in `from`: in the node_modules of that folder and of those above it. */
export function resolvePackage(name: string, from: string): string | undefined {
  for (let directory = from; ; directory = dirname(directory)) {
    const candidate = join(directory, "node_modules", name);
    if (existsSync(join(candidate, "package.json"))) return candidate;
    if (directory === dirname(directory)) return undefined;
  }
}

/** Package `name` as a file in `from` finds it. */
export function folderOf(name: string, from: string): PackageFolder | undefined {
  const directory = resolvePackage(name, from);
  return directory === undefined ? undefined : readPackage(directory, name);
}

export function readPackage(directory: string, name: string): PackageFolder {
  const manifest = readManifest(directory);
  return { name: manifest.name ?? name, directory, manifest };
}

export function readManifest(directory: string): PackageManifest {
  try {
    const parsed: unknown = JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));
    return typeof parsed === "object" && parsed !== null ? parsed : {};
  } catch {
    return {};
  }
}

/** Whether a package holds compiled code, which no bundler can take in: it must stay a folder in node_modules. */
export function isNative({ directory, manifest }: PackageFolder): boolean {
  if (manifest.gypfile === true || existsSync(join(directory, "binding.gyp"))) return true;
  if (NATIVE_LOADERS.some((loader) => manifest.dependencies?.[loader] !== undefined)) return true;
  if (holdsNativeFile(directory)) return true;
  // Packages such as sharp and @swc/core keep their binary in an optional package for each platform.
  for (const name of Object.keys(manifest.optionalDependencies ?? {})) {
    const found = resolvePackage(name, directory);
    if (found !== undefined && holdsNativeFile(found)) return true;
  }
  return false;
}

function holdsNativeFile(directory: string): boolean {
  const waiting = [directory];
  let seen = 0;
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    for (const entry of entriesOf(folder)) {
      if (entry.name.endsWith(".node") && !entry.isDirectory()) return true;
      if (entry.isDirectory() && entry.name !== "node_modules") waiting.push(join(folder, entry.name));
      seen += 1;
      if (seen > SEARCH_ENTRIES) return false;
    }
  }
  return false;
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}
