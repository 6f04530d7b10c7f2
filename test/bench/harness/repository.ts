/** Where things lie in the repository; this file runs as build/test/bench/harness/repository.js. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../..", import.meta.url));

export const CLI = join(ROOT, "sdk/typescript/dist/cli.js");
export const EMBEDDED = join(ROOT, "sdk/typescript/dist/embedded.js");
/** The project whose functions are called. */
export const TASKS = join(ROOT, "test/bench/tasks");
/** One that keeps no worker warm. */
export const FRESH_TASKS = join(ROOT, "test/bench/fresh_tasks");

/** A compiled program of the folder programs. */
export function program(name: string): string {
  return fileURLToPath(new URL(`../programs/${name}.js`, import.meta.url));
}
