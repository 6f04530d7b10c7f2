import { startEmbeddedTarget } from "./embedded_target.js";
import type { RunningTarget } from "./running_target.js";
import { startServicesTarget } from "./services_target.js";

/** Starts an installation of one's own, for what would disturb others, with settings of its own. Stop it at the end. */
export function startTarget(
  kind: RunningTarget["kind"],
  env: Readonly<Record<string, string>> = {},
): Promise<RunningTarget> {
  return kind === "services" ? startServicesTarget(undefined, { env: () => env }) : startEmbeddedTarget({ env });
}
