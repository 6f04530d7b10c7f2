/** What a scheduler is made of. */
import type { DispatchServiceClient } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { CatalogServiceClient } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import type { Bus } from "../platform/bus/bus.js";
import { wholeNumber } from "../platform/config.js";
import type { IdSource } from "../platform/ids.js";
import type { Logger } from "../platform/log.js";
import type { Metrics } from "../platform/metrics/metrics.js";
import type { Lessor } from "./leases/lessors.js";
import type { Runtime } from "./runtime/runtime.js";
import type { WorkerTokens } from "./workers/worker_token.js";

export const DEFAULT_MAX_WORKERS = 64;
export const DEFAULT_SPARE_WORKERS = 2;

export const WORKER_COUNT_SETTINGS = {
  // With none, all calls would wait for ever.
  MULTINODE_MAX_WORKERS: wholeNumber(1, 10_000).default(DEFAULT_MAX_WORKERS),
  MULTINODE_SPARE_WORKERS: wholeNumber(0, 100).default(DEFAULT_SPARE_WORKERS),
};

export interface SchedulerSettings {
  readonly schedulerId: string;
  readonly dispatch: DispatchServiceClient;
  /** The replicas of the invocation service, each by itself. Default: work is waited for at `dispatch` only. */
  readonly lessors?: readonly Lessor[];
  readonly catalog: Pick<
    CatalogServiceClient,
    "getCode" | "downloadBundle" | "findUsedBundles" | "listStandingFunctions"
  >;
  readonly runtime: Runtime;
  readonly bus: Bus;
  readonly ids: IdSource;
  readonly tokens: WorkerTokens;
  readonly log: Logger;
  /** Default: nothing is counted. */
  readonly metrics?: Metrics | undefined;
  /** Where workers reach this scheduler, known once its server listens. */
  readonly schedulerUrl: () => string;
  /** Where they reach the other schedulers of the installation. Default: they do not. */
  readonly otherUrls?: readonly string[];
  /** Where functions reach the public API. */
  readonly apiUrl: () => string;
  readonly maxWorkers: number;
  readonly spareWorkers: number;
  readonly payloadBytes: number;
  /** How often the workers that exist are compared with those that are known. Default 10 s. */
  readonly strangersIntervalMs?: number;
  /** Monotonic milliseconds. Default: those of the process. */
  readonly monotonic?: () => number;
  /** The machine's clock, in milliseconds since the epoch. Default: that of the process. */
  readonly now?: () => number;
}
