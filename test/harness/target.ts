/**
 * The installation that the end-to-end tests talk to, whichever it is. `openTarget()` finds the one that vitest's global
 * setup has started; a plain program starts its own with `startTarget` and connects with `connectTarget`.
 */
import { inject } from "vitest";
import { connectTarget, type Target } from "./connected_target.js";

declare module "vitest" {
  interface ProvidedContext {
    readonly targetApiUrl: string;
    readonly targetApiKey: string;
    readonly targetKind: "embedded" | "services";
    /** Where each of its processes serves its metrics. */
    readonly targetMetricsUrls: readonly string[];
    /** Where workers come to. Absent: to the address of the API. */
    readonly targetWorkerUrl?: string;
    /** How many schedulers there are, each with workers of its own. Absent: one. */
    readonly targetSchedulers?: number;
  }
}

export type { DeployedProject, DeployOptions, Files, Target } from "./connected_target.js";

/** Connects to the installation of this vitest project. Close it at the end of the file. */
export function openTarget(): Target {
  return connectTarget({
    apiUrl: inject("targetApiUrl"),
    apiKey: inject("targetApiKey"),
    kind: inject("targetKind"),
    workerUrl: inject("targetWorkerUrl"),
    schedulers: inject("targetSchedulers"),
  });
}
