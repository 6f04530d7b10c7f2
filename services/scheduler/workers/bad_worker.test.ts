/** Workers that lie, come uninvited or talk nonsense: they harm nothing but their own executions. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ReportExecutionsRequest } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { Status } from "../../../gen/multinode/invocation/v1/invocation.pb.js";
import { LogLine, LogStream } from "../../../gen/multinode/invocation/v1/log_service.pb.js";
import { ApiKeyRole } from "../../../gen/multinode/registry/v1/api_key_role.pb.js";
import type { ConnectRequest, WorkerEvent } from "../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { encode } from "../../../sdk/typescript/src/values/codec.js";
import { createSqlStore } from "../../invocation/sql/store.js";
import { Refusal } from "../../platform/errors.js";
import type { Principal } from "../../platform/rpc/principal.js";
import { openTestScheduler } from "../test_scheduler.js";

const WAIT = { timeout: 5_000, interval: 5 };
let test: Awaited<ReturnType<typeof openTestScheduler>>;

beforeEach(async () => {
  test = await openTestScheduler();
  test.catalog.add("f");
});
afterEach(() => test.close());

type Context = Parameters<typeof test.service.workers.connect>[1];

/** What a connection of this caller is refused with. */
async function refusalOf(
  principal: Principal,
  requests: AsyncIterable<ConnectRequest> = (async function* () {})(),
): Promise<unknown> {
  const context = { principal, signal: AbortSignal.timeout(5_000) } as Context;
  try {
    for await (const _ of test.service.workers.connect(requests, context));
  } catch (error) {
    return error instanceof Refusal ? error.reason : error;
  }
  return undefined;
}

async function two() {
  const ids = [await test.start("f"), await test.start("f")];
  const [mine, foreign] = await test.running(2);
  if (mine === undefined || foreign === undefined) throw new Error("two executions do not run");
  await Promise.all(ids.map((id) => test.becomes(id, { status: Status.RUNNING })));
  return { mine, foreign, foreignInvocation: foreign.assigned.invocationId };
}

const event = (value: WorkerEvent["event"]): WorkerEvent => ({ event: value });

describe("a connection", () => {
  it("is refused to whoever is no worker of this scheduler", async () => {
    expect(await refusalOf({ kind: "key", keyId: "key", role: ApiKeyRole.ADMIN, projectName: "" })).toBe(
      "PermissionDenied",
    );
    expect(await refusalOf({ kind: "service" })).toBe("PermissionDenied");
    for (const workerId of [test.ids.next("wrk"), "", "../x", "__proto__"]) {
      expect(await refusalOf({ kind: "worker", workerId })).toBe("PermissionDenied");
    }
  });

  it("is refused to a worker that is gone", async () => {
    const id = await test.start("f");
    const [execution] = await test.running(1);
    execution?.return(1);
    await test.becomes(id, { status: Status.SUCCEEDED, terminated: true });
    expect(await refusalOf({ kind: "worker", workerId: execution?.worker.id ?? "" })).toBe("PermissionDenied");
  });
});

describe("a worker", () => {
  it("cannot speak for an execution of another worker", async () => {
    const { mine, foreign, foreignInvocation } = await two();
    const executionId = foreign.id;
    const value = encode("forged") as never;
    const line = LogLine.fromPartial({ executionId, lineNumber: 1, text: "forged" });
    mine.worker.send([
      event({ $case: "started", value: { executionId } }),
      event({ $case: "yielded", value: { executionId, index: 1, value } }),
      event({ $case: "logs", value: { lines: [line] } }),
      event({
        $case: "ended",
        value: {
          executionId,
          result: { $case: "returned", value: { value } },
          interrupted: false,
          started: false,
        },
      }),
    ]);
    // It is told that nobody waits for that end, after all that it said before was looked at.
    await vi.waitFor(() => {
      expect(mine.worker.commands).toContainEqual({ $case: "acknowledge", value: { executionIds: [executionId] } });
    }, WAIT);
    expect(await test.get(foreignInvocation)).toMatchObject({ status: Status.RUNNING, result: undefined });
    foreign.return("true");
    const { result } = await test.becomes(foreignInvocation, { status: Status.SUCCEEDED });
    expect(Buffer.from(result?.data ?? []).toString()).toBe('"true"');
  });

  it("may talk nonsense, and its execution goes on", async () => {
    const { mine, foreign } = await two();
    const unknown = test.ids.next("exe");
    mine.worker.send([
      event(undefined),
      event({ $case: "started", value: { executionId: "" } }),
      event({ $case: "started", value: { executionId: "../x" } }),
      event({ $case: "started", value: { executionId: mine.id } }),
      event({ $case: "yielded", value: { executionId: unknown, index: -1, value: undefined } }),
      event({ $case: "status", value: { executionIds: [unknown, "", mine.id, mine.id], memoryBytes: -1 } }),
      event({ $case: "logs", value: { lines: [LogLine.fromPartial({})] } }),
      event({
        $case: "hello",
        value: {
          workerId: foreign.worker.id,
          protocolVersion: -1,
          sdk: "x".repeat(10_000),
          executions: [{ executionId: mine.id, executionToken: "forged" }],
          instance: "",
        },
      }),
    ]);
    mine.return(1);
    foreign.return(2);
    for (const { assigned } of [mine, foreign]) {
      const ended = await test.becomes(assigned.invocationId, { status: Status.SUCCEEDED, terminated: true });
      expect(ended.numFailedAttempts).toBe(0);
    }
  });

  it("that says no result, or one above the limit, has failed its own execution", async () => {
    const { mine, foreign } = await two();
    const ended = { executionId: mine.id, result: undefined, started: false, interrupted: true };
    mine.worker.send([event({ $case: "ended", value: ended })]);
    const failed = { status: Status.FAILED, numFailedAttempts: 1 };
    await test.becomes(mine.assigned.invocationId, { ...failed, error: "Error: the worker said no result" });
    foreign.return("x".repeat(250_001));
    const { error } = await test.becomes(foreign.assigned.invocationId, failed);
    expect(error).toBe("PayloadSizeLimitExceeded: the result has 250003 bytes, more than the limit of 250000");
  });

  it("that says what hardly fits into a message holds up nobody's reports", async () => {
    const { mine, foreign } = await two();
    const report = vi.spyOn(test.dispatch, "reportExecutions");
    const threw = { $case: "threw", value: { error: "x".repeat(8_388_538) } } as const;
    const ended = { executionId: mine.id, result: threw, started: false, interrupted: false };
    mine.worker.send([event({ $case: "ended", value: ended })]);
    foreign.return(2);
    const { error } = await test.becomes(mine.assigned.invocationId, { status: Status.FAILED });
    expect(error).toHaveLength(LIMITS.errorLength);
    await test.becomes(foreign.assigned.invocationId, { status: Status.SUCCEEDED });
    for (const [request] of report.mock.calls) {
      const { byteLength } = ReportExecutionsRequest.encode(ReportExecutionsRequest.fromPartial(request)).finish();
      expect(byteLength).toBeLessThan(2 * LIMITS.errorLength);
    }
  });

  it("that yields a value above the limit has failed its own execution", async () => {
    const { mine, foreign } = await two();
    mine.yield("x".repeat(250_001));
    const { error } = await test.becomes(mine.assigned.invocationId, { status: Status.FAILED, terminated: true });
    expect(error).toBe("PayloadSizeLimitExceeded: the yielded value has 250003 bytes, more than the limit of 250000");
    foreign.return(1);
    await test.becomes(foreign.assigned.invocationId, { status: Status.SUCCEEDED });
  });

  it("that says that it ends itself is given nothing more, and keeps its slot until it is gone", async () => {
    test.catalog.add("warm", { maxInvocationsPerWorker: 0, maxConcurrency: 1, maxRetries: 1 });
    const id = await test.start("warm");
    const [first] = await test.running(1);
    const stop = Promise.withResolvers<void>();
    test.runtime.stopGate = stop.promise;
    first?.worker.leave();
    first?.throw("Error: cannot be loaded");
    await vi.waitFor(() => expect(first?.worker.isStopping).toBe(true), WAIT);
    expect(await test.get(id)).toMatchObject({ status: Status.PENDING, error: "Error: cannot be loaded" });
    expect(test.runtime.executions).toEqual([]);
    test.runtime.stopGate = undefined;
    stop.resolve();
    const [second] = await test.running(1);
    expect(second?.worker.id).not.toBe(first?.worker.id);
    second?.return(1);
    await test.becomes(id, { status: Status.SUCCEEDED, numFailedAttempts: 1 });
  });

  it("that says lines again has each of them once, also where others were printed beside them", async () => {
    const { mine } = await two();
    const append = vi.spyOn(test.dispatch, "appendLogs");
    const say = (...numbers: number[]) => {
      const lines = numbers.map((lineNumber) => {
        return LogLine.fromPartial({ executionId: mine.id, lineNumber, text: `line ${lineNumber}` });
      });
      mine.worker.send([event({ $case: "logs", value: { lines } })]);
    };
    const texts = () => append.mock.calls.flatMap(([{ lines = [] }]) => lines.map(({ text }) => text));
    say(1, 2);
    await vi.waitFor(() => expect(texts()).toEqual(["line 1", "line 2"]), WAIT);
    test.runtime.print(mine.worker.id, "printed");
    mine.worker.disconnect();
    mine.worker.connect();
    say(1, 2, 3);
    await vi.waitFor(() => expect(texts()).toEqual(["line 1", "line 2", "printed", "line 3"]), WAIT);
  });

  it("that numbers its lines as nobody else does holds up nobody's reports", async () => {
    const { mine, foreign, foreignInvocation } = await two();
    const line = { timeMs: 1, stream: LogStream.STDOUT, level: "", executionId: mine.id };
    const lines = [Number.MAX_SAFE_INTEGER, 30_000, 1].map((lineNumber) => ({
      ...line,
      lineNumber,
      text: `${lineNumber}`,
    }));
    mine.worker.send([event({ $case: "logs", value: { lines } })]);
    test.runtime.print(mine.worker.id, "printed");
    foreign.return(1);
    await test.becomes(foreignInvocation, { status: Status.SUCCEEDED });
    mine.return(1);
    await test.becomes(mine.assigned.invocationId, { status: Status.SUCCEEDED });
    const stored = await test.db.read((tx) => createSqlStore().loadLogs(tx, mine.id, 0, 10));
    expect(stored.map(({ text }) => text).toSorted()).toEqual(["1", "printed"]);
  });

  it("that says hello again on its stream loses the stream", async () => {
    const { mine } = await two();
    const hello = { workerId: mine.worker.id, protocolVersion: 1, sdk: "", executions: [], instance: "" };
    const events = [event({ $case: "hello", value: hello }), event({ $case: "hello", value: hello })];
    const requests = (async function* () {
      yield { events };
      await new Promise(() => {});
    })();
    expect(await refusalOf({ kind: "worker", workerId: mine.worker.id }, requests)).toBe("ParameterValidationError");
  });

  it("that waits for no acknowledgement has its values merged into the newest, which is seen before the end", async () => {
    const { mine } = await two();
    const stored = Promise.withResolvers<void>();
    const reportExecutions = test.dispatch.reportExecutions.bind(test.dispatch);
    const reported: (string | undefined)[] = [];
    const report = vi.spyOn(test.dispatch, "reportExecutions").mockImplementation(async (request, options) => {
      await stored.promise;
      reported.push(...(request.reports ?? []).map(({ event }) => event?.$case));
      return await reportExecutions(request, options);
    });
    const said = (index: number) => [
      event({ $case: "started", value: { executionId: mine.id } }),
      event({ $case: "yielded", value: { executionId: mine.id, index, value: encode(index) as never } }),
    ];
    mine.worker.send(Array.from({ length: 100 }, (_, index) => said(index + 1)).flat());
    const returned = { $case: "returned", value: { value: undefined } } as const;
    const ended = { executionId: mine.id, result: returned, started: false, interrupted: false };
    mine.worker.send([event({ $case: "ended", value: ended })]);
    await vi.waitFor(() => expect(report).toHaveBeenCalled(), WAIT);
    stored.resolve();
    const { result } = await test.becomes(mine.assigned.invocationId, { status: Status.SUCCEEDED });
    expect(Buffer.from(result?.data ?? []).toString()).toBe("100");
    expect(reported.filter((kind) => kind !== "released")).toEqual(["yielded", "yielded", "ended"]);
  });
});
