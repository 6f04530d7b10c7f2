import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

export interface BuiltPrograms extends AsyncDisposable {
  /** Path of a program by its name, such as "inspect_child". */
  file(name: string): string;
}

/**
 * Bundles programs of the package side by side into a temporary folder, as the package has them.
 *
 * @param entries source files relative to `src`, by the name of the program
 */
export async function buildPrograms(entries: Readonly<Record<string, string>>): Promise<BuiltPrograms> {
  const folder = await mkdtemp(join(tmpdir(), "multinode-test-"));
  await writeFile(join(folder, "package.json"), '{"type":"module"}');
  const source = fileURLToPath(new URL("../..", import.meta.url));
  await build({
    entryPoints: Object.entries(entries).map(([out, file]) => ({ out, in: join(source, file) })),
    outdir: folder,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node22",
    logLevel: "error",
    banner: { js: 'import{createRequire as __c}from"node:module";const require=__c(import.meta.url);' },
    // esbuild finds its binary beside itself; the server is tested elsewhere, and only `up` loads it.
    alias: { esbuild: pathToFileURL(createRequire(import.meta.url).resolve("esbuild")).href },
    external: ["file:*", "*/services/embedded/embedded.js"],
  });
  return {
    file: (name) => join(folder, `${name}.js`),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
