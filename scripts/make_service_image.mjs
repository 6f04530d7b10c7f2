// Builds the image of the services: each bundled into one file, with the worker program beside it. `npm run build` comes first.
// Usage: make_service_image.mjs [tag] [base], default multinode/services:latest on the public node:24-slim. DOCKER_HOST decides the engine.
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { ROOT, run, runScript } from "./toolchain.mjs";

const DEFAULT_TAG = "multinode/services:latest";
const DEFAULT_BASE = "node:24-slim";
const SERVICES = ["registry", "invocation", "scheduler"];
/** Files of the package that services run or read. */
const PACKAGE_FILES = /^(worker.*\.cjs|descriptors\.binpb)$/;
/** Parts of dependencies that these ask for, and do without. */
const OPTIONAL = ["pg-native", "cpu-features", "*.node"];
const BANNER =
  'import{createRequire as __createRequire}from"node:module";const require=__createRequire(import.meta.url);';

/** dockerode can reach an engine over SSH; we use its socket only, and that library cannot be bundled. */
const withoutSsh = {
  name: "without-ssh",
  setup(bundling) {
    bundling.onResolve({ filter: /^ssh2$/ }, () => ({ path: "ssh2", namespace: "left-out" }));
    bundling.onLoad({ filter: /.*/, namespace: "left-out" }, () => ({ contents: "module.exports = {};" }));
  },
};

await runScript(import.meta.url, async ([tag = DEFAULT_TAG, base = DEFAULT_BASE]) => {
  const context = mkdtempSync(join(tmpdir(), "multinode-services-"));
  try {
    await fill(context);
    const file = join(ROOT, "deploy/services/Dockerfile");
    const args = [
      "build",
      "--quiet",
      "--network",
      "none",
      "--build-arg",
      `BASE=${base}`,
      "-t",
      tag,
      "-f",
      file,
      context,
    ];
    // The builder that every engine has; the other one asks a registry even about images that are here.
    const { ok, detail } = await run("docker", args, { env: { DOCKER_BUILDKIT: "0" } });
    if (!ok) console.error(`the image of the services could not be built: ${detail}`);
    return ok ? 0 : 1;
  } finally {
    rmSync(context, { recursive: true, force: true });
  }
});

async function fill(context) {
  const program = join(context, "program");
  const dist = join(ROOT, "sdk/typescript/dist");
  await build({
    entryPoints: Object.fromEntries(SERVICES.map((name) => [name, join(ROOT, `services/${name}/main.ts`)])),
    outdir: program,
    bundle: true,
    splitting: true,
    platform: "node",
    target: "node24",
    format: "esm",
    keepNames: true,
    legalComments: "none",
    logLevel: "warning",
    external: OPTIONAL,
    plugins: [withoutSsh],
    banner: { js: BANNER },
  });
  writeFileSync(join(program, "package.json"), '{ "type": "module" }\n');
  if (!existsSync(join(dist, "worker.cjs"))) throw new Error("the package is not built: npm run build");
  for (const name of readdirSync(dist).filter((file) => PACKAGE_FILES.test(file)))
    copyFileSync(join(dist, name), join(program, name));
  mkdirSync(join(context, "data"));
  writeFileSync(join(context, "data", ".keep"), "");
}
