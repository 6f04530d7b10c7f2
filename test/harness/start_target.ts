import { startEmbeddedTarget } from "./embedded_target.js";
import type { RunningTarget } from "./running_target.js";
import { startServicesTarget } from "./services_target.js";

/** Starts an installation of one's own, for what would disturb others. Stop it at the end. */
export function startTarget(kind: RunningTarget["kind"]): Promise<RunningTarget> {
  return kind === "services" ? startServicesTarget() : startEmbeddedTarget();
}
