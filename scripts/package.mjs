// Builds the publishable package into sdk/typescript/dist from the TypeScript sources; its types come from tsc's output in build/.
import { chmodSync, cpSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { copyDeclarations } from "./declarations.mjs";
import { ROOT, run, runScript } from "./toolchain.mjs";

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

/** CommonJS packages that are bundled into an ES module still call `require` for Node's own modules. */
const REQUIRE_BANNER =
  'import{createRequire as __multinodeCreateRequire}from"node:module";const require=__multinodeCreateRequire(import.meta.url);';

await runScript(import.meta.url, async () => {
  const { dependencies } = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf8"));
  rmSync(DIST, { recursive: true, force: true });
  await Promise.all([buildPackage(Object.keys(dependencies)), buildWorker()]);
  markExecutable(join(DIST, "cli.js"));
  linkCommand();
  copyDeclarations({
    from: join(ROOT, "build/sdk/typescript/src"),
    to: join(DIST, "types"),
    entry: "index.d.ts",
    dependencies,
  });
  cpSync(join(ROOT, "proto"), join(DIST, "proto"), { recursive: true, filter: (path) => !path.endsWith(".binpb") });
  await must("buf", ["build", "-o", join(DIST, "descriptors.binpb")]);
  // Fails on a top-level await anywhere in the graph, which CommonJS programs cannot `require`.
  await must("node", ["-e", `require(${JSON.stringify(PACKAGE)})`]);
  return 0;
});

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
    external: dependencies.flatMap((name) => [name, `${name}/*`]),
  });
}

/**
 * A worker boots for nearly every execution, and resolving packages would be most of its boot: so all is in few files. The
 * entry is a small one, which starts the supervisor before it loads the rest; the supervisor is in one piece.
 */
async function buildWorker() {
  const options = { ...common, minifySyntax: true, minifyWhitespace: true, banner: { js: REQUIRE_BANNER } };
  const entry = { worker: join(SOURCE, "worker/main.ts") };
  const supervisor = { worker_supervisor: join(SOURCE, "worker/supervisor.ts") };
  await build({ ...options, entryPoints: entry, splitting: true, chunkNames: "worker_[name]-[hash]" });
  await build({ ...options, entryPoints: supervisor });
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
