import { type Archive, type ArchiveFile, createArchive } from "./archive.js";
import { archiveContext } from "./build_context.js";
import { type CarriedPackage, carryPackages } from "./carried_packages.js";
import { ArchiveIsInvalidError, checkArchive } from "./check_archive.js";
import { readEnvironmentFile } from "./environment_file.js";
import { bundleMain } from "./esbuild_bundle.js";
import { findMain } from "./find_main.js";
import { inspectBundle } from "./inspect.js";
import type { InspectedFunction } from "./inspect_report.js";
import { ProjectError } from "./project_error.js";

export interface ProjectBundle {
  /** Name of the main file, such as "main.ts". */
  readonly mainName: string;
  readonly archive: Archive;
  /** What the image of its workers is built of. Undefined: the folder has no Dockerfile. */
  readonly context: Archive | undefined;
  readonly functions: readonly InspectedFunction[];
  /** Packages in node_modules beside the bundle: those that cannot be bundled, and what they depend on. */
  readonly carried: readonly CarriedPackage[];
  /** The variables of `.env`, with their values. */
  readonly environment: Readonly<Record<string, string>>;
  /** What esbuild found odd, one line each. */
  readonly warnings: readonly string[];
}

export interface BundleProjectOptions {
  /** Names that the SDK exports. */
  readonly sdkNames: readonly string[];
  /** Compiled inspect_child. Default: the one beside this code. */
  readonly childFile?: string;
  /** Longest time that importing the bundle may take. Default 10 s. */
  readonly importTimeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Makes the archive of a project folder and finds the functions in it. Writes nothing into the folder. Throws ProjectError. */
export async function bundleProject(folder: string, options: BundleProjectOptions): Promise<ProjectBundle> {
  const found = await findMain(folder);
  const environment = await readEnvironmentFile(found.directory);
  const { code, external, warnings } = await bundleMain(found, options.sdkNames);
  const { packages, files } = carryPackages(external);
  const archive = createArchive(new Map<string, ArchiveFile>([["main.mjs", { data: code }], ...files]));
  checkSize(archive.bytes, packages);
  const functions = await inspectBundle({ ...options, folder: found, archive: archive.bytes, environment });
  if (functions.length === 0) {
    const hint = "Make one with the Multinode object, and export it: export const f = mn.function(...).";
    throw new ProjectError(`${found.mainName} exports no function.`, hint);
  }
  const context = await archiveContext(found.directory);
  return { mainName: found.mainName, archive, context, functions, carried: packages, environment, warnings };
}

function checkSize(bytes: Uint8Array, packages: readonly CarriedPackage[]): void {
  try {
    checkArchive(bytes);
  } catch (error) {
    if (!(error instanceof ArchiveIsInvalidError)) throw error;
    const hint = packages.length > 0 ? "Depend on fewer of the packages that cannot be bundled." : "Import less.";
    throw new ProjectError(`The bundle cannot be deployed: ${error.message}.`, hint, { cause: error });
  }
}
