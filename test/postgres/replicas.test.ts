/** Two replicas of the invocation service on one PostgreSQL, at the same things at the same moment. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { DispatchServiceClient, LeasedExecution } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { Status } from "../../gen/multinode/invocation/v1/invocation.pb.js";
import { BatchStartInvocationsRequest } from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { openTestInvocations, reports, type TestInvocations } from "../../services/invocation/test_invocation.js";

type Replica = Awaited<ReturnType<TestInvocations["openReplica"]>>;

let test: TestInvocations;
let other: Replica;
/** Both. */
let all: readonly Pick<Replica, "client" | "dispatch" | "teardown">[];

beforeEach(async () => {
  test = await openTestInvocations();
  other = await test.openReplica();
  all = [test, other];
});
afterEach(async () => {
  await other.end();
  await test.close();
});

const at = <T>(list: readonly T[], index: number): T => list[index % list.length] as T;
const times = (count: number) => Array.from({ length: count }, (_, index) => index);

async function leaseFrom(dispatch: DispatchServiceClient, schedulerId: string, waitMs = 0): Promise<LeasedExecution[]> {
  const request = { schedulerId, maxCount: 20, excludedQueues: [], leaseDurationMs: 30_000, waitMs };
  return (await dispatch.leaseInvocations(request)).executions as LeasedExecution[];
}

const statusOf = async (id: string) => (await test.get(id)).status;

/** Queues whose counters are not what their invocations say. */
async function wrongCounters(): Promise<unknown[]> {
  return await test.db.read((tx) =>
    tx.all(`SELECT q.*, i.held, i.waiting FROM queues q JOIN (
        SELECT queue_key, sum(held) AS held, count(*) FILTER (WHERE status = 1 AND execution_id IS NULL) AS waiting
        FROM invocations GROUP BY queue_key) i ON i.queue_key = q.queue_key
      WHERE q.used <> i.held OR q.queued <> i.waiting`),
  );
}

async function deadlocks(): Promise<number> {
  const row = await test.db.read((tx) =>
    tx.get<{ n: number }>("SELECT deadlocks AS n FROM pg_stat_database WHERE datname = current_database()"),
  );
  return row?.n ?? 0;
}

describe("slots", () => {
  it("are never given twice, and each invocation once", async () => {
    test.catalog.add("f", { maxConcurrency: 5 });
    const count = 300;
    const started = Promise.all(
      times(count).map(async (i) => (await at(all, i).client.startInvocation(test.startRequest("f"))).invocationId),
    );
    let held = 0;
    let most = 0;
    const leased: string[] = [];
    const scheduler = async (index: number) => {
      const schedulerId = test.ids.next("sch");
      while (leased.length < count) {
        const executions = await leaseFrom(at(all, index).dispatch, schedulerId, 50);
        held += executions.length;
        most = Math.max(most, held);
        for (const execution of executions) {
          leased.push(execution.ref?.invocationId ?? "");
          // Ended here and released there, so that each replica is behind the other in turn.
          await at(all, index + 1).dispatch.reportExecutions({ reports: [reports.returned(execution, 1)] });
          held -= 1;
          await at(all, index).dispatch.reportExecutions({ reports: [reports.released(execution)] });
        }
      }
    };
    await Promise.all(times(4).map(scheduler));
    const ids = await started;
    expect(leased.toSorted()).toEqual(ids.toSorted());
    expect(most).toBeLessThanOrEqual(5);
    expect(new Set(await Promise.all(ids.map(statusOf)))).toEqual(new Set([Status.SUCCEEDED]));
    expect(await wrongCounters()).toEqual([]);
  });

  it("of many functions are counted without waiting for each other in a circle", async () => {
    const names = times(12).map((i) => `f${i}`);
    for (const name of names) test.catalog.add(name, { maxConcurrency: 3 });
    const before = await deadlocks();
    const work = async (index: number) => {
      const { client, dispatch } = at(all, index);
      const schedulerId = test.ids.next("sch");
      for (let round = 0; round < 12; round++) {
        const order = names.toSorted(() => Math.random() - 0.5);
        const requests = order.map((name) => test.startRequest(name));
        await client.batchStartInvocations(BatchStartInvocationsRequest.fromPartial({ requests }));
        const executions = await leaseFrom(dispatch, schedulerId);
        await dispatch.reportExecutions({
          reports: executions.map((execution) => reports.returned(execution, 1, true)),
        });
      }
    };
    await Promise.all(times(6).map(work));
    expect(await deadlocks()).toBe(before);
    expect(await wrongCounters()).toEqual([]);
  });
});

describe("a start that comes to both", () => {
  it("with an idempotency key is one invocation", async () => {
    test.catalog.add("f");
    for (let round = 0; round < 20; round++) {
      const request = test.startRequest("f", { idempotencyKey: `key ${round}` });
      const answers = await Promise.all(times(4).map((i) => at(all, i).client.startInvocation(request)));
      expect(new Set(answers.map(({ invocationId }) => invocationId)).size).toBe(1);
    }
  });

  it("with a request id is answered twice and done once", async () => {
    test.catalog.add("f");
    for (let round = 0; round < 20; round++) {
      const requests = [test.startRequest("f"), test.startRequest("f")];
      const request = BatchStartInvocationsRequest.fromPartial({ requests, requestId: `request ${round}` });
      const [one, two] = await Promise.all(all.map(({ client }) => client.batchStartInvocations(request)));
      expect(one).toEqual(two);
    }
    const stored = await test.db.read((tx) => tx.get("SELECT count(*) AS n FROM invocations"));
    expect(stored).toEqual({ n: 40 });
  });
});

describe("a cancellation there", () => {
  it("reaches what is being started here, however deep", async () => {
    test.catalog.add("f", { maxConcurrency: 1 });
    for (let round = 0; round < 30; round++) {
      const parent = await test.start("f");
      const child = await test.start("f", { parentInvocationId: parent });
      const starts = [parent, child, child].map((parentInvocationId) =>
        test.client.startInvocation(test.startRequest("f", { parentInvocationId })),
      );
      const [started] = await Promise.all([
        Promise.allSettled(starts),
        other.client.cancelInvocation({ invocationId: parent, projectName: "", functionName: "", versionId: "" }),
      ]);
      const ids = started.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value.invocationId] : []));
      for (const id of [parent, child, ...ids]) expect(await statusOf(id)).toBe(Status.CANCELLED);
    }
    expect(await wrongCounters()).toEqual([]);
  });

  it("of a project leaves nothing that is being started here", async () => {
    for (let round = 0; round < 30; round++) {
      // A project of its own each time, and its first function: there is no queue yet.
      test.catalog.projectId = test.ids.next("prj");
      test.catalog.add(`f${round}`);
      const { projectId } = test.catalog;
      const [started] = await Promise.all([
        Promise.allSettled(times(3).map((i) => at(all, i).client.startInvocation(test.startRequest(`f${round}`)))),
        other.teardown.cancelProject({ projectId }),
      ]);
      for (const outcome of started) {
        if (outcome.status === "fulfilled") expect(await statusOf(outcome.value.invocationId)).toBe(Status.CANCELLED);
        else expect(outcome.reason).toMatchObject({ reason: "ProjectIsBeingDeleted" });
      }
      const again = test.client.startInvocation(test.startRequest(`f${round}`));
      await expect(again).rejects.toMatchObject({ reason: "ProjectIsBeingDeleted" });
    }
  });
});

describe("both", () => {
  it("sweep what is due, each once", async () => {
    test.catalog.add("f", { maxConcurrency: 300, maxRetries: 1 });
    const ids = await Promise.all(times(300).map(() => test.start("f")));
    const schedulerId = test.ids.next("sch");
    let leased = 0;
    while (leased < 300) leased += (await test.lease(schedulerId, 300)).length;
    const expiring = await Promise.all(times(100).map(() => test.start("f", { ttlMs: 10_000 })));
    test.clock.forward(40_000);
    test.service.start();
    other.service.start();
    const statuses = async (of: readonly string[]) => new Set(await Promise.all(of.map(statusOf)));
    await expect.poll(() => statuses(expiring), { timeout: 10_000 }).toEqual(new Set([Status.TIMED_OUT]));
    const failures = async () => new Set((await Promise.all(ids.map(test.get))).map((one) => one.numFailedAttempts));
    await expect.poll(failures, { timeout: 10_000 }).toEqual(new Set([1]));
    expect(await statuses(ids)).toEqual(new Set([Status.PENDING]));
    expect(await wrongCounters()).toEqual([]);
  });

  it("have the same secrets", async () => {
    test.catalog.add("f");
    await test.start("f");
    const [leased] = await test.lease(test.ids.next("sch"));
    const executions = [{ executionToken: leased?.executionToken ?? "" }];
    const schedulerId = test.ids.next("sch");
    const adopted = await other.dispatch.adoptExecutions({ schedulerId, leaseDurationMs: 30_000, executions });
    expect(adopted.executions).toHaveLength(1);
  });
});
