/** Two invocation services on one PostgreSQL, and functions whose ends make room for what waits, all at once. */
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { LeasedExecution } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { openTestInvocations, reports, type TestInvocations } from "../../services/invocation/test_invocation.js";

const FUNCTIONS = ["a", "b", "c", "d", "e"];
const SLOTS = 3;
const EACH = 60;

let one: TestInvocations;
let other: Awaited<ReturnType<TestInvocations["openReplica"]>>;

beforeEach(async () => {
  one = await openTestInvocations();
  other = await one.openReplica();
});
afterEach(async () => {
  await other.end();
  await one.close();
});

it("never wait for each other in a circle, nor take more slots than there are, and nothing waits that could run", async () => {
  for (const name of FUNCTIONS) one.catalog.add(name, { maxConcurrency: SLOTS, maxRetries: 1 });
  const held = new Map(FUNCTIONS.map((name) => [name, 0]));
  const over = new AbortController();
  const ended: LeasedExecution[] = [];
  let most = 0;
  let done = 0;
  /** A scheduler that reports to both services, some executions at once, of which the first attempts of some fail. */
  const schedule = async () => {
    const schedulerId = one.ids.next("sch");
    const running: LeasedExecution[] = [];
    const count = (execution: LeasedExecution, by: number) => {
      const name = execution.function?.functionName ?? "";
      const now = (held.get(name) ?? 0) + by;
      held.set(name, now);
      most = Math.max(most, now);
    };
    const read = async (dispatch: TestInvocations["dispatch"]) => {
      for (let receivedCount = 0; !over.signal.aborted; ) {
        const request = {
          schedulerId,
          maxCount: 6,
          excludedQueues: [],
          leaseDurationMs: 30_000,
          waitMs: 1_000,
          receivedCount,
        };
        for await (const { executions = [] } of dispatch.streamLeases(request, { signal: over.signal })) {
          const leased = executions as LeasedExecution[];
          receivedCount += leased.length;
          for (const execution of leased) count(execution, 1);
          running.push(...leased);
        }
      }
    };
    const report = async (dispatch: TestInvocations["dispatch"]) => {
      while (!over.signal.aborted) {
        await delay(5);
        const some = running.splice(0, 6);
        const fails = ({ attemptNumber }: LeasedExecution, index: number) => attemptNumber === 1 && index === 0;
        for (const execution of some) count(execution, -1);
        const all = some.map((execution, index) =>
          fails(execution, index) ? reports.threw(execution, { released: true }) : reports.returned(execution, 1, true),
        );
        if (all.length > 0) await dispatch.reportExecutions({ reports: all });
        ended.push(...some);
        done += some.filter((execution, index) => !fails(execution, index)).length;
        if (done >= EACH * FUNCTIONS.length) over.abort();
      }
    };
    const ends = await Promise.allSettled([
      read(one.dispatch),
      read(other.dispatch),
      report(one.dispatch),
      report(other.dispatch),
    ]);
    for (const end of ends) if (end.status === "rejected" && !over.signal.aborted) throw end.reason;
  };
  const start = async (name: string, index: number) => {
    for (let count = 0; count < EACH; count++) {
      const { client } = (count + index) % 2 === 0 ? one : other;
      await client.startInvocation(one.startRequest(name));
    }
  };
  await Promise.all([schedule(), schedule(), ...FUNCTIONS.map(start)]);
  expect(most).toBeLessThanOrEqual(SLOTS);
  expect(new Set(ended.map(({ ref }) => ref?.executionId)).size).toBe(ended.length);
  const queues = await one.db.read((tx) => tx.all("SELECT used, queued FROM queues"));
  expect(queues).toEqual(FUNCTIONS.map(() => ({ used: 0, queued: 0 })));
  const deadlocks = await one.db.read((tx) =>
    tx.get("SELECT deadlocks AS count FROM pg_stat_database WHERE datname = current_database()"),
  );
  expect(deadlocks).toEqual({ count: 0 });
}, 30_000);
