/** Several schedulers on one invocation service and one engine of fake workers, that are killed, paused and woken. */
import { vi } from "vitest";
import type { DispatchServiceClient } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { ConnectRequest, ConnectResponse } from "../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { openTestInvocations, type TestInvocations } from "../invocation/test_invocation.js";
import type { Bus } from "../platform/bus/bus.js";
import { FakeEngine, type FakeExecution, FakeRuntime, type FakeWorker } from "./runtime/fake.js";
import type { SharedRuntime } from "./runtime/runtime.js";
import type { SchedulerSettings } from "./scheduler_settings.js";
import { createSchedulerService, type SchedulerService } from "./service.js";
import { faultyDispatch, TOKENS, testSettings } from "./test_scheduler.js";

const NEVER = new Promise<void>(() => {});
/** Below the time for which a lease is trusted, so that those that run keep theirs. */
const STEP_MS = 4_000;
const WAIT = { timeout: 5_000, interval: 5 };

export interface Replica {
  readonly id: string;
  readonly service: SchedulerService;
  /** Ends as with kill -9. */
  kill(): void;
  /** Stands still as with SIGSTOP; its workers go elsewhere, which it does not notice. Answers how to wake it. */
  pause(): () => void;
  stop(): Promise<void>;
}

export interface TestCluster {
  readonly invocations: TestInvocations;
  readonly engine: FakeEngine;
  open(options?: Partial<SchedulerSettings>): Promise<Replica>;
  /** Lets time pass, in which the schedulers that run renew their leases. */
  forward(ms: number): Promise<void>;
  close(): Promise<void>;
}

/** `fenced`: workers end themselves when time passes in which they have no scheduler. */
export async function openTestCluster(
  run?: (execution: FakeExecution) => void,
  { fenced = false } = {},
): Promise<TestCluster> {
  const invocations = await openTestInvocations();
  invocations.service.start();
  const engine = new FakeEngine();
  const replicas: ReplicaParts[] = [];
  let aheadMs = 0;
  let turn = 0;
  /** Since when workers are adrift. */
  const adrift = new Map<FakeWorker, number>();
  const passFence = () => {
    for (const worker of engine.workers.values()) {
      if (!worker.isAdrift) adrift.delete(worker);
      else if (!adrift.has(worker)) adrift.set(worker, aheadMs);
    }
    for (const [worker, since] of adrift) {
      if (aheadMs - since < LIMITS.workerFenceMs) continue;
      adrift.delete(worker);
      worker.die("was killed by SIGKILL");
    }
  };
  const monotonic = () => performance.now() + aheadMs;
  const now = () => Date.now() + aheadMs;
  // As a proxy does: to one after another of those that answer.
  const connect = async function* (token: string, requests: AsyncIterable<ConnectRequest>, signal: AbortSignal) {
    const answering = replicas.filter(({ state }) => state === "runs");
    const replica = answering[turn++ % answering.length];
    if (replica === undefined) throw new Error("nobody answers");
    yield* replica.connect(token, requests, signal);
  };
  const isLiving = async ({ id }: ReplicaParts) =>
    (
      await invocations.db.read((tx) =>
        tx.all("SELECT id FROM schedulers WHERE id = ? AND lease_until > ?", id, invocations.clock.now() + 26_000),
      )
    ).length === 1;
  return {
    invocations,
    engine,
    open: async (options = {}) => {
      const replica = new ReplicaParts(invocations, engine, connect, run, { monotonic, now, ...options });
      replicas.push(replica);
      await replica.service.start();
      replica.state = "runs";
      return replica;
    },
    forward: async (ms) => {
      for (let left = ms; left > 0; left -= STEP_MS) {
        const step = Math.min(left, STEP_MS);
        if (fenced) passFence();
        aheadMs += step;
        if (fenced) passFence();
        invocations.clock.forward(step);
        const running = replicas.filter(({ state }) => state === "runs");
        for (const replica of running) replica.renew();
        await vi.waitFor(async () => {
          for (const replica of running) if (!(await isLiving(replica))) throw new Error("a lease was not renewed");
        }, WAIT);
      }
    },
    close: async () => {
      await Promise.all(replicas.map((replica) => replica.stop()));
      await invocations.close();
    },
  };
}

class ReplicaParts implements Replica {
  readonly id: string;
  readonly service: SchedulerService;
  state: "starts" | "runs" | "paused" | "dead" = "starts";
  /** Nothing comes in and nothing goes out before it settles. */
  #gate: Promise<void> = Promise.resolve();
  /** Ends the connections as the workers see them. */
  #leave = new AbortController();
  #wake: () => void = () => {};
  /** Renews its lease now. */
  renew: () => void = () => {};
  readonly #killed = new AbortController();

  constructor(
    { bus, ids, log, catalog, dispatch }: TestInvocations,
    engine: FakeEngine,
    connect: ConstructorParameters<typeof FakeRuntime>[0]["connect"],
    run: ((execution: FakeExecution) => void) | undefined,
    options: Partial<SchedulerSettings>,
  ) {
    this.id = options.schedulerId ?? ids.next("sch");
    const faults = faultyDispatch(this.#cancelled(dispatch));
    faults.before = () => this.#gate;
    faults.after = () => this.#gate;
    const { now = () => Date.now() } = options;
    const own = { schedulerId: this.id, takesFirstWork: true, now };
    const settings = { connect, engine, ...own, ...(run === undefined ? {} : { run }) };
    this.service = createSchedulerService({
      ...testSettings({ bus, ids, log, catalog }),
      bus: this.#watched(bus),
      maxWorkers: 20,
      strangersIntervalMs: 20,
      ...options,
      schedulerId: this.id,
      dispatch: faults.client,
      runtime: this.#gated(new FakeRuntime(settings)),
    });
  }

  async *connect(
    token: string,
    requests: AsyncIterable<ConnectRequest>,
    signal: AbortSignal,
  ): AsyncGenerator<ConnectResponse, void> {
    const principal = await TOKENS.authority(token);
    if (principal === undefined) throw new Error("the token of a worker is not good");
    const lost = new AbortController();
    // What the worker does, and that it has gone, is noticed when this scheduler does not stand still.
    signal.addEventListener("abort", () => void this.#gate.then(() => lost.abort()));
    type Context = Parameters<SchedulerService["workers"]["connect"]>[1];
    const context = { principal, signal: lost.signal } as Context;
    const answers = this.service.workers.connect(this.#incoming(requests), context);
    const left = new Promise<undefined>((resolve) => {
      this.#leave.signal.addEventListener("abort", () => resolve(undefined));
    });
    const rest = (answers as AsyncIterable<ConnectResponse>)[Symbol.asyncIterator]();
    for (;;) {
      const next = await Promise.race([rest.next(), left]);
      if (next === undefined || next.done) break;
      yield next.value;
    }
    void this.#gate.then(() => lost.abort());
  }

  kill(): void {
    this.state = "dead";
    this.#gate = NEVER;
    this.#killed.abort();
    this.#leave.abort();
  }

  pause(): () => void {
    this.state = "paused";
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    this.#leave.abort();
    this.#leave = new AbortController();
    this.#wake = () => {
      if (this.state !== "paused") return;
      this.state = "runs";
      resolve();
    };
    return this.#wake;
  }

  async stop(): Promise<void> {
    // A dead one does nothing any more but for its timers, which end.
    this.#wake();
    if (this.state === "dead") void this.service.stop(AbortSignal.abort());
    else await this.service.stop(AbortSignal.timeout(5_000));
  }

  /** Who may have missed an interruption renews its lease. */
  #watched(bus: Bus): Bus {
    return {
      publish: (event) => bus.publish(event),
      subscribe: (kind, listener, missed) => {
        if (kind === "interruption" && missed !== undefined) this.renew = missed;
        return bus.subscribe(kind, listener, missed);
      },
      close: () => bus.close(),
    };
  }

  /** Calls of a process that dies are cancelled. */
  #cancelled(dispatch: DispatchServiceClient): DispatchServiceClient {
    type Call = (request: never, options: object) => Promise<unknown>;
    const client = Object.entries(dispatch).map(([method, call]) => [
      method,
      (request: never, options: { signal?: AbortSignal } = {}) => {
        const signals = [this.#killed.signal, ...(options.signal === undefined ? [] : [options.signal])];
        return (call as Call)(request, { ...options, signal: AbortSignal.any(signals) });
      },
    ]);
    return Object.fromEntries(client) as DispatchServiceClient;
  }

  async *#incoming(requests: AsyncIterable<ConnectRequest>): AsyncGenerator<ConnectRequest, void> {
    for await (const request of requests) {
      await this.#gate;
      yield request;
    }
  }

  #gated(runtime: FakeRuntime): SharedRuntime {
    const wait = <A extends unknown[], T>(call: (...args: A) => Promise<T>) => {
      return async (...args: A): Promise<T> => {
        await this.#gate;
        return await call(...args);
      };
    };
    return {
      name: runtime.name,
      survivesRestart: true,
      takesFirstWork: true,
      start: wait((spec) => runtime.start(spec)),
      limit: wait((workerId, resources) => runtime.limit(workerId, resources)),
      stop: wait((workerId) => runtime.stop(workerId)),
      list: wait(() => runtime.list()),
      listInstallation: wait(() => runtime.listInstallation()),
      adopt: wait((workerId) => runtime.adopt(workerId)),
      holders: {
        listSchedulers: wait(() => runtime.holders.listSchedulers()),
        removeOf: wait((schedulerId) => runtime.holders.removeOf(schedulerId)),
      },
      release: (workerId) => runtime.release(workerId),
      onExit: (listener) => runtime.onExit((exit) => void this.#gate.then(() => listener(exit))),
      onOutput: (listener) => runtime.onOutput(listener),
      close: wait(() => runtime.close()),
    };
  }
}
