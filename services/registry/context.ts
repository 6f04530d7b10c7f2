/** What the handlers of the registry stand on. */
import { setTimeout as delay } from "node:timers/promises";
import type { Bus } from "../platform/bus/bus.js";
import type { Clock } from "../platform/clock.js";
import type { IdSource } from "../platform/ids.js";
import type { PageOffsets } from "../platform/page_offset.js";
import type { ApiKeyCheck } from "./api_key_check.js";
import type { BundleStore } from "./bundles.js";
import type { EnvironmentSeal } from "./environment_seal.js";
import type { RegistryStore } from "./store.js";
import type { VersionFunctions } from "./version_functions.js";

/** A timer of Node may fire so much too early. */
const TIMER_MS = 1;

export interface RegistryContext {
  readonly store: RegistryStore;
  readonly bundles: BundleStore;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly offsets: PageOffsets;
  readonly versionFunctions: VersionFunctions;
  readonly apiKeyCheck: ApiKeyCheck;
  readonly seal: EnvironmentSeal;
  /** How long the other services may remember what was resolved, in milliseconds. */
  readonly resolveCacheMs: number;
  /** Tells the teardown that there is a project to remove. */
  readonly wakeTeardown: () => void;
}

/** Waits until nobody remembers what was resolved before now. */
export async function forgotten({ resolveCacheMs }: RegistryContext): Promise<void> {
  if (resolveCacheMs > 0) await delay(resolveCacheMs + TIMER_MS);
}
