/** An invocation service for tests: with a database of its own, called in-process, and a clock that can jump. */
import {
  type DispatchServiceClient,
  type ExecutionReport,
  type LeasedExecution,
  type StreamLeasesRequest,
} from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { Invocation } from "../../gen/multinode/invocation/v1/invocation.pb.js";
import {
  GetInvocationRequest,
  type InvocationServiceClient,
  StartInvocationRequest,
} from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import type { TeardownServiceClient } from "../../gen/multinode/invocation/v1/teardown_service.pb.js";
import type { CatalogServiceClient, FunctionRef } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import { type FunctionOptions, FunctionSpec } from "../../gen/multinode/registry/v1/function.pb.js";
import { encode, encodeArguments } from "../../sdk/typescript/src/values/codec.js";
import { openTestDatabase } from "../../test/harness/test_database.js";
import { MemoryBus } from "../platform/bus/memory.js";
import type { SteadyClock } from "../platform/clock.js";
import { Refusal } from "../platform/errors.js";
import { IdSource } from "../platform/ids.js";
import { createLogger } from "../platform/log.js";
import type { Metrics } from "../platform/metrics/metrics.js";
import { localClient } from "../platform/rpc/local_client.js";
import type { Db } from "../platform/store/db.js";
import type { InvocationDeps } from "./deps.js";
import { createInvocationService } from "./service.js";
import { MIGRATIONS } from "./sql/schema.js";

/** A clock that was set forward is seen at the next sweep. */
const SWEEP_INTERVAL_MS = 100;

/** Goes like any other; time can be made to pass, and it can be set. */
export class TestClock implements SteadyClock {
  #aheadMs = 0;
  #setByMs = 0;

  now(): number {
    return Date.now() + this.#aheadMs + this.#setByMs;
  }

  monotonic(): number {
    return performance.now() + this.#aheadMs;
  }

  /** Lets time pass. */
  forward(ms: number): void {
    this.#aheadMs += ms;
  }

  /** Sets it forward or, with less than 0, back, as somebody does who corrects it. */
  set(byMs: number): void {
    this.#setByMs += byMs;
  }
}

/** One project with one version, whose functions a test adds as it goes. */
export class TestCatalog {
  readonly projectName = "project";
  projectId: string;
  versionId: string;
  readonly functions = new Map<string, FunctionSpec>();
  readonly usedBundles = new Set<string>();
  /** Archives by digest. */
  readonly bundles = new Map<string, Uint8Array>([["d", new Uint8Array()]]);
  /** Bundles are sent when this settles. */
  waitFor: Promise<void> | undefined;
  /** Bundles that were asked for. */
  downloads = 0;
  /** Thrown in place of every answer. */
  failure: Error | undefined;
  readonly #ids: IdSource;

  constructor(ids: IdSource) {
    this.#ids = ids;
    this.projectId = ids.next("prj");
    this.versionId = ids.next("ver");
  }

  /** Options of a function are fixed in a version: other ones are another version. */
  add(
    functionName: string,
    options: Partial<FunctionOptions> = {},
    contextDigest?: string,
    inputSchema?: string,
  ): void {
    if (this.functions.has(functionName)) this.versionId = this.#ids.next("ver");
    this.functions.set(
      functionName,
      FunctionSpec.fromPartial({ functionName, options, contextDigest, inputSchema: inputSchema ?? "" }),
    );
  }

  client(): Pick<
    CatalogServiceClient,
    "resolveFunctions" | "resolveProject" | "getCode" | "downloadBundle" | "findUsedBundles" | "listStandingFunctions"
  > {
    const { projectName } = this;
    const answer = async <T>(make: () => T): Promise<T> => {
      if (this.failure !== undefined) throw this.failure;
      return make();
    };
    const resolved = (spec: FunctionSpec) => ({
      projectId: this.projectId,
      projectName,
      versionId: this.versionId,
      function: spec,
    });
    const outcomeOf = ({ functionName = "" }: Partial<FunctionRef>) => {
      const spec = this.functions.get(functionName);
      if (spec === undefined) return { outcome: { $case: "errorReason", value: "FunctionDoesNotExist" } as const };
      return { outcome: { $case: "function", value: resolved(spec) } as const };
    };
    return {
      resolveFunctions: ({ functions = [] }) => answer(() => ({ outcomes: functions.map(outcomeOf), cacheMs: 0 })),
      resolveProject: () => answer(() => ({ projectId: this.projectId, latestVersionId: this.versionId })),
      getCode: () =>
        answer(() => ({ code: { source: { $case: "bundle", value: { digest: "d" } }, environment: {} } as const })),
      downloadBundle: ({ digest = "" }) => {
        this.downloads += 1;
        return bundleOf(this.bundles.get(digest), digest, this.waitFor);
      },
      findUsedBundles: () => answer(() => ({ digests: [...this.usedBundles] })),
      listStandingFunctions: () =>
        answer(() => ({
          functions: [...this.functions.values()].filter(({ options }) => (options?.minWorkers ?? 0) > 0).map(resolved),
        })),
    };
  }
}

async function* bundleOf(
  bundle: Uint8Array | undefined,
  digest: string,
  waitFor: Promise<void> | undefined,
): AsyncGenerator<{ chunk: Uint8Array }> {
  await waitFor;
  if (bundle === undefined) throw new Refusal("BundleDoesNotExist", `bundle ${digest} does not exist`);
  yield { chunk: bundle };
}

/** `wrap` may put something between the service and its database; `limits` stand in place of the usual ones. */
export async function openTestInvocations(
  wrap: (db: Db) => Db = (db) => db,
  limits: Partial<InvocationDeps["limits"]> = {},
  retentionDays?: number,
  metrics?: Metrics,
) {
  const database = await openTestDatabase(MIGRATIONS);
  const db = wrap(database.db);
  const clock = new TestClock();
  const ids = new IdSource(clock);
  const bus = new MemoryBus();
  const log = createLogger("invocation", process.env["TEST_LOG"] ?? "silent");
  const catalog = new TestCatalog(ids);
  const parts = { db, bus, clock, ids, log, catalog: catalog.client() };
  const intervals = { retentionDays, sweepIntervalMs: SWEEP_INTERVAL_MS };
  const service = await createInvocationService({ ...parts, metrics, limits, ...intervals });
  const client = localClient<InvocationServiceClient>(service.invocations);
  const dispatch = localClient<DispatchServiceClient>(service.dispatch);
  const { projectName } = catalog;
  const startRequest = (functionName: string, request: Partial<StartInvocationRequest> = {}) => {
    const { positional, named } = encodeArguments([1], undefined);
    return StartInvocationRequest.fromPartial({
      projectName,
      functionName,
      arguments: { positional: positional as never, named: named as never },
      ...request,
    });
  };
  /** Leases what there is, without waiting for more. */
  const lease = async (schedulerId: string, maxCount = 100, excludedQueues: string[] = []) => {
    const request = { schedulerId, maxCount, excludedQueues, leaseDurationMs: 30_000, waitMs: 0 };
    return (await dispatch.leaseInvocations(request)).executions as LeasedExecution[];
  };
  /** Each time what has come; asked for one, for as long as a test may take, where nothing else is said. */
  async function* leases(request: Partial<StreamLeasesRequest> & { schedulerId: string }, signal?: AbortSignal) {
    const usual = { maxCount: 1, excludedQueues: [], leaseDurationMs: 30_000, waitMs: 30_000 };
    const stream = dispatch.streamLeases({ ...usual, ...request }, signal && { signal });
    for await (const { executions } of stream) yield executions as LeasedExecution[];
  }
  return {
    startRequest,
    leases,
    service,
    db,
    clock,
    ids,
    bus,
    log,
    catalog,
    client,
    dispatch,
    teardown: localClient<TeardownServiceClient>(service.teardown),
    /** Answers the id of the invocation. */
    start: async (functionName: string, request: Partial<StartInvocationRequest> = {}): Promise<string> =>
      (await client.startInvocation(startRequest(functionName, request))).invocationId,
    get: async (invocationId: string): Promise<Invocation> => {
      const { invocation } = await client.getInvocation(GetInvocationRequest.fromPartial({ invocationId }));
      if (invocation === undefined) throw new Error("there is no invocation in the answer");
      return invocation as Invocation;
    },
    cancel: (invocationId: string) =>
      client
        .cancelInvocation({ invocationId, projectName: "", functionName: "", versionId: "" })
        .then(({ invocation }) => invocation),
    lease,
    leaseOne: async (schedulerId: string): Promise<LeasedExecution> => {
      const [leased] = await lease(schedulerId, 1);
      if (leased === undefined) throw new Error("there was nothing to lease");
      return leased;
    },
    /** Answers why the reports were refused, in their order; undefined where they were taken. */
    report: async (...reports: ExecutionReport[]): Promise<(string | undefined)[]> => {
      const { refusals } = await dispatch.reportExecutions({ reports });
      return reports.map((_, index) => refusals.find((refusal) => refusal.index === index)?.reason);
    },
    /** Another service on the same database, that hears nothing of the first; `end` ends it. */
    openReplica: async () => {
      const own = await database.again();
      const settings = { db: own, bus: new MemoryBus(), clock, ids, log, catalog: catalog.client() };
      const replica = await createInvocationService({ ...settings, ...intervals });
      const end = async () => {
        await replica.stop();
        await own.close();
      };
      return {
        service: replica,
        client: localClient<InvocationServiceClient>(replica.invocations),
        dispatch: localClient<DispatchServiceClient>(replica.dispatch),
        teardown: localClient<TeardownServiceClient>(replica.teardown),
        end,
      };
    },
    close: async () => {
      await service.stop();
      await bus.close();
      await db.close();
      await database.remove();
    },
  };
}

export type TestInvocations = Awaited<ReturnType<typeof openTestInvocations>>;

type Leased = Pick<LeasedExecution, "ref">;

/** Reports of what happened to an execution. */
export const reports = {
  started: ({ ref }: Leased, workerId = ""): ExecutionReport => ({
    ref,
    event: { $case: "started", value: { workerId } },
  }),
  yielded: ({ ref }: Leased, index: number, value: unknown): ExecutionReport => ({
    ref,
    event: { $case: "yielded", value: { index, value: encode(value) as never } },
  }),
  returned: ({ ref }: Leased, value: unknown, released = false): ExecutionReport => ({
    ref,
    event: {
      $case: "ended",
      value: {
        result: { $case: "returned", value: { value: encode(value) as never } },
        interrupted: false,
        killed: false,
        released,
        workerId: "",
      },
    },
  }),
  threw: (
    { ref }: Leased,
    { error = "Error: boom", interrupted = false, killed = false, released = false } = {},
  ): ExecutionReport => ({
    ref,
    event: {
      $case: "ended",
      value: { result: { $case: "threw", value: { error } }, interrupted, killed, released, workerId: "" },
    },
  }),
  released: ({ ref }: Leased): ExecutionReport => ({ ref, event: { $case: "released", value: {} } }),
};
