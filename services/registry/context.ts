/** What the handlers of the registry stand on. */
import type { Bus } from "../platform/bus/bus.js";
import type { Clock } from "../platform/clock.js";
import type { IdSource } from "../platform/ids.js";
import type { PageOffsets } from "../platform/page_offset.js";
import type { ApiKeyCheck } from "./api_key_check.js";
import type { BundleStore } from "./bundles.js";
import type { RegistryStore } from "./store.js";
import type { VersionFunctions } from "./version_functions.js";

export interface RegistryContext {
  readonly store: RegistryStore;
  readonly bundles: BundleStore;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly offsets: PageOffsets;
  readonly versionFunctions: VersionFunctions;
  readonly apiKeyCheck: ApiKeyCheck;
  /** Tells the teardown that there is a project to remove. */
  readonly wakeTeardown: () => void;
}
