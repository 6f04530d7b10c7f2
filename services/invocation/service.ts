/** The invocation service, put together. */
import { randomBytes } from "node:crypto";
import type { DispatchServiceImplementation } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { InvocationServiceImplementation } from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import type { LogServiceImplementation } from "../../gen/multinode/invocation/v1/log_service.pb.js";
import type { TeardownServiceImplementation } from "../../gen/multinode/invocation/v1/teardown_service.pb.js";
import type { CatalogServiceClient } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import type { Bus } from "../platform/bus/bus.js";
import type { SteadyClock } from "../platform/clock.js";
import type { IdSource } from "../platform/ids.js";
import type { Logger } from "../platform/log.js";
import type { Metrics } from "../platform/metrics/metrics.js";
import { PageOffsets } from "../platform/page_offset.js";
import type { Authority, Caller } from "../platform/rpc/principal.js";
import type { Db } from "../platform/store/db.js";
import { FunctionResolver } from "./admission/function_resolver.js";
import { Announcer } from "./announcer.js";
import { executionAuthority } from "./authority.js";
import type { InvocationDeps, InvocationLimits } from "./deps.js";
import { adoptHandler } from "./dispatch/adopt.js";
import { appendLogsHandler } from "./dispatch/append_logs.js";
import { findOwnersHandler } from "./dispatch/find_owners.js";
import { leaseHandlers } from "./dispatch/lease.js";
import { listInterruptionsHandler } from "./dispatch/list_interruptions.js";
import { listLeasesHandler } from "./dispatch/list_leases.js";
import { ParkedLeases } from "./dispatch/parked_leases.js";
import { renewHandler } from "./dispatch/renew.js";
import { reportHandler } from "./dispatch/report.js";
import { ExecutionTokens } from "./execution_token.js";
import { Functions } from "./functions.js";
import { measureInvocations } from "./metrics.js";
import { Retention } from "./retention.js";
import { cancelHandler } from "./rpc/cancel.js";
import { getHandler } from "./rpc/get.js";
import { listHandler } from "./rpc/list.js";
import { logHandlers } from "./rpc/logs.js";
import { startHandlers } from "./rpc/start.js";
import { teardownHandlers } from "./rpc/teardown.js";
import { watchHandler } from "./rpc/watch.js";
import { RunningLives } from "./running_lives.js";
import { createSqlStore } from "./sql/store.js";
import { Sweeper } from "./sweeper.js";
import { WatchHub } from "./watch_hub.js";

export interface InvocationSettings {
  /** With the tables of `sql/schema.ts`. */
  readonly db: Db;
  readonly bus: Bus;
  readonly clock: SteadyClock;
  readonly ids: IdSource;
  readonly log: Logger;
  /** Default: nothing is counted. */
  readonly metrics?: Metrics | undefined;
  readonly catalog: Pick<CatalogServiceClient, "resolveFunctions" | "resolveProject">;
  readonly limits?: Partial<InvocationLimits>;
  /** How long an invocation is kept after its end, in days. Default: until its project is deleted. */
  readonly retentionDays?: number | undefined;
  /** How often what is due is looked for at least, in milliseconds. Default 1 s, and 1 min for what is kept no longer. */
  readonly sweepIntervalMs?: number;
}

export interface InvocationService {
  readonly invocations: InvocationServiceImplementation<Caller>;
  readonly logs: LogServiceImplementation<Caller>;
  readonly dispatch: DispatchServiceImplementation<Caller>;
  readonly teardown: TeardownServiceImplementation<Caller>;
  /** Knows the tokens of executions. */
  readonly authority: Authority;
  /** Begins to sweep. */
  start(): void;
  /** Ends what `start` began. The database and the bus stay open. */
  stop(): Promise<void>;
}

export async function createInvocationService(settings: InvocationSettings): Promise<InvocationService> {
  const { db, bus, clock, ids, log, catalog, retentionDays, sweepIntervalMs } = settings;
  const store = createSqlStore();
  const secret = (name: string) => db.write((tx) => store.secret(tx, name, () => randomBytes(32)));
  const hub = new WatchHub(bus);
  const parked = new ParkedLeases(bus);
  const running = new RunningLives(bus);
  const deps: InvocationDeps = {
    db,
    store,
    functions: new Functions(store),
    resolver: new FunctionResolver(catalog),
    catalog,
    bus,
    hub,
    announcer: new Announcer(bus, hub, running),
    running,
    parked,
    clock,
    ids,
    tokens: new ExecutionTokens(await secret("execution-tokens")),
    offsets: new PageOffsets(await secret("page-offsets")),
    limits: { payloadBytes: LIMITS.payloadBytes, queueDepth: LIMITS.queueDepth, ...settings.limits },
    log,
  };
  if (settings.metrics !== undefined) measureInvocations(settings.metrics, deps);
  const sweeper = new Sweeper(deps, sweepIntervalMs);
  const retention = retentionDays === undefined ? undefined : new Retention(deps, retentionDays, sweepIntervalMs);
  return {
    invocations: {
      ...startHandlers(deps),
      ...getHandler(deps),
      ...listHandler(deps),
      ...cancelHandler(deps),
      ...watchHandler(deps),
    },
    logs: logHandlers(deps),
    dispatch: {
      ...leaseHandlers(deps),
      ...renewHandler(deps),
      ...listInterruptionsHandler(deps),
      ...reportHandler(deps),
      ...adoptHandler(deps),
      ...findOwnersHandler(deps),
      ...listLeasesHandler(deps),
      ...appendLogsHandler(deps),
    },
    teardown: teardownHandlers(deps),
    authority: executionAuthority(deps),
    start: () => {
      sweeper.start();
      retention?.start();
    },
    stop: async () => {
      await Promise.all([sweeper.stop(), retention?.stop()]);
      parked.closeAll();
      hub.close();
      running.close();
    },
  };
}
