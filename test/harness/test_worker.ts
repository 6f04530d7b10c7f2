/** The image of a worker that stands in for the real one (test/docker/test_worker.cjs). */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestEngine } from "./docker.js";

export const TEST_WORKER_IMAGE = "multinode/test-worker:1";

export async function buildTestWorker(...engines: readonly TestEngine[]): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "multinode-test-worker-"));
  const source = (name: string) => fileURLToPath(new URL(`../docker/${name}`, import.meta.url));
  await cp(source("test_worker.cjs"), join(folder, "worker.cjs"));
  await Promise.all(engines.map((engine) => engine.buildImage(TEST_WORKER_IMAGE, folder)));
  await rm(folder, { recursive: true });
}
