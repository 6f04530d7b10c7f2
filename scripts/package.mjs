// Builds the publishable package into sdk/typescript/dist from the TypeScript sources; its types come from tsc's output in build/.
import { chmodSync, cpSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { copyDeclarations } from "./declarations.mjs";
import { ROOT, run, runScript } from "./toolchain.mjs";
import { buildWorker } from "./worker_bundle.mjs";

const PACKAGE = join(ROOT, "sdk/typescript");
const DIST = join(PACKAGE, "dist");
const SOURCE = join(PACKAGE, "src");

const common = {
  outdir: DIST,
  bundle: true,
  platform: "node",
  target: "node22.13",
  format: "esm",
  // Errors are told apart, and shown to people, by the names of their classes.
  keepNames: true,
  legalComments: "none",
  logLevel: "warning",
};

/** Of CommonJS, and so in a file of its own; the server loads it where metrics are asked for. */
const METRICS_LIBRARY = { name: "prom-client", file: "prom_client.cjs" };

const metricsLibraryApart = {
  name: "metrics-library-apart",
  setup(bundling) {
    const apart = { path: `./${METRICS_LIBRARY.file}`, external: true };
    bundling.onResolve({ filter: new RegExp(`^${METRICS_LIBRARY.name}$`) }, () => apart);
  },
};

await runScript(import.meta.url, async () => {
  const { dependencies } = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8"));
  rmSync(DIST, { recursive: true, force: true });
  await Promise.all([
    buildPackage(Object.keys(dependencies)),
    buildMetricsLibrary(),
    buildWorker({ source: SOURCE, outdir: DIST }),
  ]);
  markExecutable(join(DIST, "cli.js"));
  linkCommand();
  copyDeclarations({
    from: join(ROOT, "build/sdk/typescript/src"),
    to: join(DIST, "types"),
    entry: "index.d.ts",
    dependencies,
  });
  // npm packs a licence that lies beside the package.json, whatever else is packed.
  cpSync(join(ROOT, "LICENSE"), join(PACKAGE, "LICENSE"));
  cpSync(join(ROOT, "proto"), join(DIST, "proto"), { recursive: true, filter: (path) => !path.endsWith(".binpb") });
  await must("buf", ["build", "-o", join(DIST, "descriptors.binpb")]);
  // Fails on a top-level await anywhere in the graph, which CommonJS programs cannot `require`.
  await must("node", ["-e", `require(${JSON.stringify(PACKAGE)})`]);
  return 0;
});

/** It is bundled so that whoever installs the package to call functions need not install that too. */
async function buildMetricsLibrary() {
  // Named, so that Node finds the names in what is made of them.
  const contents = `export { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "${METRICS_LIBRARY.name}";`;
  const { outdir, ...options } = common;
  const outfile = join(outdir, METRICS_LIBRARY.file);
  await build({ ...options, stdin: { contents, resolveDir: ROOT }, outfile, format: "cjs" });
}

/** One call, so that the entries share their code; `multinode up` loads the server's part only when it is asked for. */
async function buildPackage(dependencies) {
  await build({
    ...common,
    entryPoints: {
      index: join(SOURCE, "index.ts"),
      cli: join(SOURCE, "cli/main.ts"),
      inspect_child: join(SOURCE, "bundle/inspect_child.ts"),
      embedded: join(ROOT, "services/embedded/embedded.ts"),
    },
    splitting: true,
    plugins: [metricsLibraryApart],
    external: dependencies.flatMap((name) => [name, `${name}/*`]),
  });
}

/** npm links the commands of a workspace only if they exist when it installs; so `npx multinode` gets its link here. */
function linkCommand() {
  const link = join(ROOT, "node_modules/.bin/multinode");
  rmSync(link, { force: true });
  symlinkSync("../multinode/dist/cli.js", link);
}

async function must(command, args) {
  const { ok, detail } = await run(command, args, { boundMs: 60_000 });
  if (!ok) throw new Error(`package: ${command} ${args.join(" ")}: ${detail}`);
}

function markExecutable(file) {
  const text = readFileSync(file, "utf8");
  if (!text.startsWith("#!")) writeFileSync(file, `#!/usr/bin/env node\n${text}`);
  chmodSync(file, 0o755);
}
