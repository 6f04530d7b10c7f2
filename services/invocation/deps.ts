/** What the use cases of this service stand on. */
import type { CatalogServiceClient } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import type { Bus } from "../platform/bus/bus.js";
import type { SteadyClock } from "../platform/clock.js";
import type { IdSource } from "../platform/ids.js";
import type { Logger } from "../platform/log.js";
import type { PageOffsets } from "../platform/page_offset.js";
import type { Db } from "../platform/store/db.js";
import type { FunctionResolver } from "./admission/function_resolver.js";
import type { Announcer } from "./announcer.js";
import type { ParkedLeases } from "./dispatch/parked_leases.js";
import type { ExecutionTokens } from "./execution_token.js";
import type { Functions } from "./functions.js";
import type { RunningLives } from "./running_lives.js";
import type { InvocationStore } from "./store.js";
import type { WatchHub } from "./watch_hub.js";

export interface InvocationLimits {
  /** Largest encoded input, yielded value or result, in bytes. */
  readonly payloadBytes: number;
  /** Invocations of one function that may wait. */
  readonly queueDepth: number;
}

export interface InvocationDeps {
  readonly db: Db;
  readonly store: InvocationStore;
  readonly functions: Functions;
  readonly resolver: FunctionResolver;
  readonly catalog: Pick<CatalogServiceClient, "resolveProject">;
  readonly bus: Bus;
  readonly hub: WatchHub;
  readonly announcer: Announcer;
  readonly parked: ParkedLeases;
  readonly running: RunningLives;
  readonly clock: SteadyClock;
  readonly ids: IdSource;
  readonly tokens: ExecutionTokens;
  readonly offsets: PageOffsets;
  readonly limits: InvocationLimits;
  readonly log: Logger;
}
