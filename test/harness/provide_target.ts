import type { TestProject } from "vitest/node";
import type { RunningTarget } from "./running_target.js";
import "./target.js";

/** Tells the test files where the installation is. Answers what stops it. */
export function provideTarget(project: TestProject, target: RunningTarget): () => Promise<void> {
  project.provide("targetApiUrl", target.apiUrl);
  project.provide("targetApiKey", target.apiKey);
  project.provide("targetKind", target.kind);
  project.provide("targetMetricsUrls", target.metricsUrls);
  return () => target.stop();
}
