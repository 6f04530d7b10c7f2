/** vitest's global setup: the cluster of docker-compose.yml, for all files. It needs a Docker engine that answers. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { TestProject } from "vitest/node";
import "./target.js";

const UP_BOUND_MS = 300_000;
const DOWN_BOUND_MS = 120_000;

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { stdout } = await runScript("cluster_up.mjs", ["--json"], UP_BOUND_MS);
  const line = stdout.split("\n").findLast((text) => text.startsWith("{")) ?? "";
  const { url, apiKey } = JSON.parse(line) as { url: string; apiKey: string };
  project.provide("targetApiUrl", url);
  project.provide("targetApiKey", apiKey);
  project.provide("targetKind", "services");
  return async () => {
    await runScript("cluster_down.mjs", [], DOWN_BOUND_MS);
  };
}

async function runScript(name: string, args: readonly string[], timeout: number) {
  const script = fileURLToPath(new URL(`../../scripts/${name}`, import.meta.url));
  return await promisify(execFile)(process.execPath, [script, ...args], { timeout });
}
