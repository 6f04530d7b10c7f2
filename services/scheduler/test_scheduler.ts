/** Schedulers for tests: with fake workers, on a real invocation service. */
import { vi } from "vitest";
import type { DispatchServiceClient } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { Invocation } from "../../gen/multinode/invocation/v1/invocation.pb.js";
import type { ConnectRequest } from "../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { openTestInvocations, type TestInvocations } from "../invocation/test_invocation.js";
import type { Db } from "../platform/store/db.js";
import { type FakeExecution, FakeRuntime } from "./runtime/fake.js";
import type { FakeImages } from "./runtime/fake_images.js";
import type { SchedulerSettings } from "./scheduler_settings.js";
import { createSchedulerService, type SchedulerService } from "./service.js";
import { WorkerTokens } from "./workers/worker_token.js";

export const TOKENS = new WorkerTokens(new Uint8Array(32).fill(7));

export interface TestScheduler {
  readonly id: string;
  readonly service: SchedulerService;
  readonly runtime: FakeRuntime;
  stop(): Promise<void>;
}

export interface TestSchedulerOptions extends Partial<SchedulerSettings> {
  readonly run?: (execution: FakeExecution) => void;
  readonly images?: FakeImages;
  readonly takesFirstWork?: boolean;
}

/** What all schedulers of a test have in common. */
export function testSettings({ bus, ids, log, catalog }: Pick<TestInvocations, "bus" | "ids" | "log" | "catalog">) {
  return {
    catalog: catalog.client(),
    bus,
    ids,
    tokens: TOKENS,
    log,
    schedulerUrl: () => "http://fake",
    apiUrl: () => "http://fake",
    maxWorkers: 4,
    spareWorkers: 0,
    payloadBytes: LIMITS.payloadBytes,
  };
}

/** Its `start` must be called; its workers come to it at once. */
export function createTestScheduler(invocations: TestInvocations, options: TestSchedulerOptions = {}): TestScheduler {
  const { ids, dispatch } = invocations;
  const { run, images, takesFirstWork, ...more } = options;
  const runtime = new FakeRuntime({
    images,
    takesFirstWork,
    ...(run === undefined ? {} : { run }),
    connect: async function* (token, requests: AsyncIterable<ConnectRequest>, signal) {
      const principal = await TOKENS.authority(token);
      if (principal === undefined) throw new Error("the token of a worker is not good");
      type Context = Parameters<typeof service.workers.connect>[1];
      yield* service.workers.connect(requests, { principal, signal } as Context) as AsyncIterable<never>;
    },
  });
  const id = more.schedulerId ?? ids.next("sch");
  const service = createSchedulerService({
    ...testSettings(invocations),
    schedulerId: id,
    dispatch,
    runtime,
    ...more,
  });
  return { id, service, runtime, stop: () => service.stop(AbortSignal.timeout(5_000)) };
}

/** A started scheduler on an invocation service of its own. */
export async function openTestScheduler(options: TestSchedulerOptions & { wrap?: (db: Db) => Db } = {}) {
  const { wrap, ...more } = options;
  const invocations = await openTestInvocations(wrap);
  invocations.service.start();
  const scheduler = createTestScheduler(invocations, more);
  await scheduler.service.start();
  return {
    ...invocations,
    invocations,
    ...scheduler,
    close: async () => {
      await scheduler.stop();
      await invocations.close();
    },
    becomes: (id: string, what: Partial<Record<keyof Invocation, unknown>>) => becomes(invocations, id, what),
    running: (count: number) => running(scheduler, count),
  };
}

const WAIT = { timeout: 5_000, interval: 5 };

/** Waits until an invocation is as `what` says. */
export async function becomes(invocations: TestInvocations, id: string, what: object): Promise<Invocation> {
  const { expect } = await import("vitest");
  return await vi.waitFor(async () => {
    const invocation = await invocations.get(id);
    expect(invocation).toMatchObject(what);
    return invocation;
  }, WAIT);
}

/** Waits until so many executions run in the workers of a scheduler, and answers them, oldest first. */
export async function running({ runtime }: TestScheduler, count: number): Promise<FakeExecution[]> {
  return await vi.waitFor(() => {
    const { executions } = runtime;
    if (executions.length !== count) throw new Error(`${executions.length} executions run, and not ${count}`);
    return executions;
  }, WAIT);
}

/** A dispatch client whose calls fail or wait as a test says. */
export function faultyDispatch(dispatch: DispatchServiceClient): {
  client: DispatchServiceClient;
  /** Called before each call; throws or waits. */
  before: (method: string) => Promise<void>;
  /** Called after each call that was done, and before each message of a stream comes; throws where that is to be lost. */
  after: (method: string) => Promise<void>;
} {
  const nothing: (method: string) => Promise<void> = async () => {};
  const faults = { before: nothing, after: nothing };
  const client = Object.fromEntries(
    Object.entries(dispatch).map(([method, call]) => [
      method,
      async (request: never, options: never) => {
        await faults.before(method);
        const answer: unknown = await (call as (request: never, options: never) => Promise<unknown>)(request, options);
        await faults.after(method);
        return answer;
      },
    ]),
  );
  async function* streamLeases(...args: Parameters<DispatchServiceClient["streamLeases"]>) {
    await faults.before("streamLeases");
    for await (const leased of dispatch.streamLeases(...args)) {
      await faults.after("streamLeases");
      yield leased;
    }
  }
  return Object.assign(faults, { client: { ...client, streamLeases } as unknown as DispatchServiceClient });
}
