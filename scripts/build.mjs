// Builds everything: gen/ (from the contracts), build/ (plain compiled JavaScript, for tests and benchmarks), sdk/typescript/dist/
// (the publishable package). `build.mjs proto` and `build.mjs types` stop after that step.
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT, run, runScript, seconds } from "./toolchain.mjs";

const STEPS = {
  proto: generateProto,
  types: () => run("tsc", ["-p", "tsconfig.json"]),
  package: () => run("node", ["scripts/package.mjs"]),
};

await runScript(import.meta.url, async ([last = "package"]) => {
  if (!(last in STEPS)) throw new Error(`unknown build step ${last}; the steps are ${Object.keys(STEPS).join(", ")}`);
  for (const [name, step] of Object.entries(STEPS)) {
    const { ok, detail, ms } = await step();
    if (!ok) {
      console.error(`build: ${name} failed (${detail})`);
      return 1;
    }
    console.log(`build: ${name} ${detail || seconds(ms)}`);
    if (name === last) break;
  }
  return 0;
});

/** buf empties gen/ first, under the feet of whatever reads it: so only when a contract or the generator has changed. */
async function generateProto() {
  const stamp = join(ROOT, "gen", ".inputs");
  const inputs = hashOf(["buf.yaml", "buf.gen.yaml", "node_modules/ts-proto/package.json", ...contracts()]);
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === inputs) return { ok: true, detail: "unchanged", ms: 0 };
  const result = await run("buf", ["generate"]);
  if (result.ok) writeFileSync(stamp, inputs);
  return result;
}

function contracts() {
  return readdirSync(join(ROOT, "proto"), { recursive: true })
    .filter((name) => name.endsWith(".proto"))
    .map((name) => join("proto", name))
    .toSorted((a, b) => a.localeCompare(b, "en"));
}

function hashOf(files) {
  const hash = createHash("sha256");
  for (const file of files)
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(ROOT, file)))
      .update("\0");
  return hash.digest("hex");
}
