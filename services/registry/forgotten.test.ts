/** For how long other services may remember what was resolved, and that a deployment and a deletion outlast it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { ProjectPolicy } from "../../gen/multinode/registry/v1/registry_service.pb.js";
import { bundleCode, functionNamed, openTestRegistry, type TestRegistry, until } from "./test_registry.js";

const CACHE_MS = 200;
const PROJECT = "remembered";

let registry: TestRegistry;
beforeAll(async () => {
  registry = await openTestRegistry({ resolveCacheMs: CACHE_MS });
});
afterAll(() => registry.close());

async function resolve(functionName: string): Promise<{ found: string; cacheMs: number }> {
  const functions = [{ projectName: PROJECT, versionId: "", functionName }];
  const { outcomes, cacheMs } = await registry.catalog.resolveFunctions({ functions });
  const outcome = outcomes[0]?.outcome;
  return { found: outcome?.$case === "function" ? "found" : (outcome?.value ?? ""), cacheMs };
}

/** Waits until what was begun shows, and checks that it is answered so much later. */
async function outlasts(begun: Promise<unknown>, shows: () => Promise<boolean>): Promise<void> {
  const beganAt = performance.now();
  let isAnswered = false;
  const answered = begun.then(() => {
    isAnswered = true;
  });
  await until(shows);
  const isEarly = performance.now() - beganAt < CACHE_MS;
  if (isEarly) expect(isAnswered).toBe(false);
  await answered;
  expect(performance.now() - beganAt).toBeGreaterThanOrEqual(CACHE_MS);
}

test("a deployment and a deletion are answered when nobody remembers what was before", async () => {
  const deploy = (functionName: string, requestId: string) =>
    registry.registry.createVersion({
      projectName: PROJECT,
      projectPolicy: ProjectPolicy.CREATE_IF_MISSING,
      code: bundleCode(),
      functions: [functionNamed(functionName)],
      requestId,
    });
  await outlasts(deploy("f", "one"), async () => (await resolve("f")).found === "found");
  expect(await resolve("f")).toEqual({ found: "found", cacheMs: CACHE_MS });
  // Said again, because the answer was lost.
  await outlasts(deploy("f", "one"), () => Promise.resolve(true));
  const isDeleting = async () => (await resolve("f")).found.startsWith("Project");
  await outlasts(registry.registry.deleteProject({ projectName: PROJECT }), isDeleting);
});
