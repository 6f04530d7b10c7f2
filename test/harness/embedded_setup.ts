/** vitest's global setup: one `multinode up` for all files. */
import type { TestProject } from "vitest/node";
import { startEmbeddedTarget } from "./embedded_target.js";
import { provideTarget } from "./provide_target.js";

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  return provideTarget(project, await startEmbeddedTarget({ servesMetrics: true }));
}
