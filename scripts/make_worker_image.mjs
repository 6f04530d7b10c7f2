// Builds the image of workers from sdk/typescript/dist, which `npm run build` makes.
// Usage: make_worker_image.mjs [tag] [base], default multinode/worker:latest on the public node:24-slim. DOCKER_HOST decides the engine.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ROOT, run, runScript } from "./toolchain.mjs";

const DEFAULT_TAG = "multinode/worker:latest";
const DEFAULT_BASE = "node:24-slim";
const CONTEXT = join(ROOT, "sdk/typescript/dist");

await runScript(import.meta.url, async ([tag = DEFAULT_TAG, base = DEFAULT_BASE]) => {
  if (!existsSync(join(CONTEXT, "worker.cjs"))) throw new Error("the package is not built: npm run build");
  const file = join(ROOT, "deploy/worker/Dockerfile");
  const args = ["build", "--quiet", "--network", "none", "--build-arg", `BASE=${base}`, "-t", tag, "-f", file, CONTEXT];
  // The builder that every engine has; the other one asks a registry even about images that are here.
  const { ok, detail } = await run("docker", args, { env: { DOCKER_BUILDKIT: "0" } });
  if (!ok) console.error(`the worker image could not be built: ${detail}`);
  return ok ? 0 : 1;
});
