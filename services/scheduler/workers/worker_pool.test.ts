import { beforeEach, describe, expect, it, vi } from "vitest";
import { FunctionSpec } from "../../../gen/multinode/registry/v1/function.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { IdSource } from "../../platform/ids.js";
import { createLogger } from "../../platform/log.js";
import { shapeOf } from "../run.js";
import type { Runtime, WorkerResources } from "../runtime/runtime.js";
import { ANY_SIZE, STANDARD_IMAGE } from "./worker_kind.js";
import { type PooledWorker, WorkerPool } from "./worker_pool.js";
import { WorkerSession } from "./worker_session.js";
import { WorkerTokens } from "./worker_token.js";

const WAIT = { timeout: 5_000, interval: 5 };
const bound = {
  shape: shapeOf("ver", undefined),
  projectName: "p",
  versionId: "ver",
  spec: FunctionSpec.fromPartial({ functionName: "f" }),
};

let now: number;
let calls: string[];
let limits: WorkerResources[];
let fail: (call: string) => boolean;
/** Starts are carried out when this settles. */
let startGate: Promise<void> | undefined;
let pool: WorkerPool;

beforeEach(() => {
  now = 1_000;
  calls = [];
  limits = [];
  fail = () => false;
  startGate = undefined;
  const call = async (name: string) => {
    calls.push(name);
    if (fail(name)) throw new Error(`${name} was to fail`);
  };
  const runtime: Runtime = {
    name: "test",
    survivesRestart: false,
    start: async () => {
      await call("start");
      await startGate;
      return "ref";
    },
    limit: (_workerId, resources) => {
      limits.push(resources);
      return call("limit");
    },
    stop: () => call("stop"),
    list: async () => [],
    onExit: () => {},
    onOutput: () => {},
    close: async () => {},
  };
  pool = new WorkerPool({
    runtime,
    tokens: new WorkerTokens(new Uint8Array(32)),
    ids: new IdSource({ now: () => now }),
    log: createLogger("test", "silent"),
    schedulerUrl: () => "http://scheduler",
    otherUrls: [],
    monotonic: () => now,
    now: () => now,
  });
});

function startOne(exited = vi.fn()): PooledWorker {
  pool.start(exited, { image: STANDARD_IMAGE, size: ANY_SIZE });
  const [worker] = pool.workers.values();
  if (worker === undefined) throw new Error("there is no worker");
  return worker;
}

describe("a worker of the pool", () => {
  it("that never comes is silent after its time to boot", async () => {
    const worker = startOne();
    await vi.waitFor(() => expect(worker.isBeingStarted).toBe(false), WAIT);
    now += LIMITS.workerBootMs;
    expect(pool.silent()).toEqual([]);
    now += 1;
    expect(pool.silent()).toEqual([worker]);
  });

  it.each(["for nobody", "for an execution"])(
    "that is started %s is not silent while its engine is away, and has its time to boot after that",
    async (why) => {
      const engine = Promise.withResolvers<void>();
      startGate = engine.promise;
      const noWork = Promise.resolve(undefined);
      const worker = why === "for nobody" ? startOne() : pool.startFor(bound, noWork, vi.fn());
      await vi.waitFor(() => expect(calls).toEqual(["start"]), WAIT);
      now += 10 * LIMITS.workerBootMs;
      expect(pool.silent()).toEqual([]);
      engine.resolve();
      await vi.waitFor(() => expect(worker.isBeingStarted).toBe(false), WAIT);
      now += LIMITS.workerBootMs;
      expect(pool.silent()).toEqual([]);
      now += 1;
      expect(pool.silent()).toEqual([worker]);
    },
  );

  it("that is connected is silent when nothing came for a while", async () => {
    const worker = startOne();
    await vi.waitFor(() => expect(worker.isBeingStarted).toBe(false), WAIT);
    worker.phase = "spare";
    worker.session = new WorkerSession();
    now += LIMITS.workerSilenceMs + 1;
    expect(pool.silent()).toEqual([worker]);
    worker.heardAt = now;
    expect(pool.silent()).toEqual([]);
  });

  it("that was not heard of since its scheduler stood still has no place", async () => {
    const worker = startOne();
    await vi.waitFor(() => expect(worker.isBeingStarted).toBe(false), WAIT);
    for (const phase of ["spare", "active"] as const) {
      Object.assign(worker, { phase, isInDoubt: true });
      expect(pool.views()).toMatchObject([{ phase: "starting" }]);
      worker.isInDoubt = false;
      expect(pool.views()).toMatchObject([{ phase }]);
    }
  });

  it("that lost its connection has time to come back, more than it needs to end itself", async () => {
    const worker = startOne();
    await vi.waitFor(() => expect(worker.isBeingStarted).toBe(false), WAIT);
    worker.phase = "active";
    now += LIMITS.workerFenceMs + 1;
    expect(pool.silent()).toEqual([]);
    now += LIMITS.workerBootMs;
    expect(pool.silent()).toEqual([worker]);
    pool.stop(worker);
    expect(pool.silent()).toEqual([]);
  });

  it("whose start failed is gone, and whatever is left of it is stopped (R1)", async () => {
    fail = (call) => call === "start";
    const exited = vi.fn();
    const worker = startOne(exited);
    await vi.waitFor(() => expect(exited).toHaveBeenCalledTimes(1), WAIT);
    expect(exited.mock.calls[0]?.[0]).toMatchObject({
      workerId: worker.id,
      description: expect.stringMatching(/start was to fail/),
    });
    expect(calls).toEqual(["start", "stop"]);
  });

  it("is stopped once, and again while that fails", async () => {
    const worker = startOne();
    let failures = 2;
    fail = (call) => call === "stop" && failures-- > 0;
    pool.stop(worker);
    pool.stop(worker);
    await vi.waitFor(() => expect(calls.filter((call) => call === "stop")).toHaveLength(3), WAIT);
    expect(worker.phase).toBe("stopping");
  });

  it("keeps its stream while it is stopped: without it, it would go to another scheduler", async () => {
    const worker = startOne();
    const session = new WorkerSession();
    worker.session = session;
    const next = session.messages(new AbortController().signal).next();
    pool.stop(worker);
    session.answer();
    expect(await next).toEqual({ done: false, value: { commands: [] } });
  });

  it("whose limits cannot be set is stopped, before it could go without them", async () => {
    const worker = startOne();
    fail = (call) => call === "limit";
    pool.bind(worker, bound);
    await vi.waitFor(() => expect(calls).toEqual(["start", "limit", "stop"]), WAIT);
    expect(worker.phase).toBe("stopping");
  });
});

describe("the limits of a worker", () => {
  const options = { cpu: 1, memoryBytes: 1 << 28 };
  const of = (more: object = {}) => ({ ...bound, spec: { ...bound.spec, options: { ...options, ...more } } as never });
  const started = async () => {
    pool.start(vi.fn(), { image: STANDARD_IMAGE, size: ANY_SIZE });
    const worker = [...pool.workers.values()].at(-1);
    if (worker === undefined) throw new Error("there is no worker");
    await vi.waitFor(() => expect(worker.runtimeRef).toBe("ref"), WAIT);
    return worker;
  };

  it("are those of the last function while it boots, and then those of its own if they are others", async () => {
    pool.bind(await started(), of());
    const [same, other] = [await started(), await started()];
    expect(limits).toEqual([options, options, options]);
    pool.bind(same, of());
    await same.limited;
    expect(limits).toHaveLength(3);
    pool.bind(other, of({ cpu: 0.5 }));
    await other.limited;
    expect(limits.slice(3)).toEqual([{ ...options, cpu: 0.5 }]);
    await started(); // with half of a CPU it would boot slowly
    expect(limits).toHaveLength(4);
  });

  it("are set when it is bound where they could not be before", async () => {
    pool.bind(await started(), of());
    fail = (call) => call === "limit";
    const worker = await started();
    expect(await worker.anticipated?.isSet).toBe(false);
    fail = () => false;
    pool.bind(worker, of());
    await worker.limited;
    expect(limits).toHaveLength(3);
    expect(worker.phase).toBe("active");
  });
});

describe("the stream of a worker", () => {
  it("carries what is said in one turn with one message, in order", async () => {
    const session = new WorkerSession();
    const messages = session.messages(new AbortController().signal);
    session.send({ $case: "acknowledge", value: { executionIds: ["a"] } });
    session.send({ $case: "acknowledge", value: { executionIds: ["b"] } });
    const { value } = await messages.next();
    expect(value?.commands.map(({ command }) => command?.value)).toEqual([
      { executionIds: ["a"] },
      { executionIds: ["b"] },
    ]);
    const next = messages.next();
    session.send({ $case: "acknowledge", value: { executionIds: ["c"] } });
    expect((await next).value?.commands).toHaveLength(1);
    session.close();
    expect((await messages.next()).done).toBe(true);
  });

  it("ends with its connection, also with one that had ended before", async () => {
    const breaking = new AbortController();
    const reading = new WorkerSession().messages(breaking.signal).next();
    breaking.abort();
    expect((await reading).done).toBe(true);
    expect((await new WorkerSession().messages(breaking.signal).next()).done).toBe(true);
  });
});
