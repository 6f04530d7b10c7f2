/** vitest's global setup: the services as three processes behind one address, for all files. */
import type { TestProject } from "vitest/node";
import { provideTarget } from "./provide_target.js";
import { METRICS, startServicesTarget } from "./services_target.js";

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  return provideTarget(project, await startServicesTarget(undefined, { env: () => METRICS }));
}
