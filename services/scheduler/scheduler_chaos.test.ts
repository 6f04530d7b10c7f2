/** Two schedulers on one store, with workers that die, connections that break and answers that are lost, at random. */
import { expect, it, vi } from "vitest";
import { Outcome, Status } from "../../gen/multinode/invocation/v1/invocation.pb.js";
import { decode } from "../../sdk/typescript/src/values/codec.js";
import { Random } from "../../test/chaos/random.js";
import { openTestInvocations } from "../invocation/test_invocation.js";
import { Refusal } from "../platform/errors.js";
import type { FakeExecution } from "./runtime/fake.js";
import { createTestScheduler, faultyDispatch } from "./test_scheduler.js";

const COUNT = 150;
const MAX_CONCURRENCY = 4;
const MAX_RETRIES = 50;

it("brings every invocation to one end, and gives every slot back", { timeout: 60_000 }, async () => {
  const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
  console.info(`seed ${seed}`);
  const random = new Random(seed);
  const test = await openTestInvocations();
  test.service.start();
  const options = { maxConcurrency: MAX_CONCURRENCY, maxRetries: MAX_RETRIES, gracePeriodMs: 20 };
  test.catalog.add("fresh", { ...options, cpu: random.chance(0.5) ? 1 : 0.5 }); // with a whole one a worker is started for it
  test.catalog.add("warm", { ...options, maxInvocationsPerWorker: 0, workerConcurrency: 2 });

  const live = new Map<FakeExecution, string>();
  let most = 0;
  const run = (execution: FakeExecution) => {
    live.set(execution, functionOf.get(execution.assigned.invocationId) ?? "");
    // G7: of a fresh function, a slot is held as long as the worker exists.
    const fresh = [...live].filter(([{ worker }, name]) => worker.exists && name === "fresh");
    most = Math.max(most, fresh.length);
    setTimeout(() => act(execution), random.next() * 10);
  };
  const act = (execution: FakeExecution): void => {
    const { worker, assigned } = execution;
    const dice = random.next();
    if (dice < 0.1) return worker.die("was killed");
    if (dice < 0.15) return execution.throw("Error: bad luck");
    if (dice < 0.2) return; // it hangs, until it is cancelled
    if (dice < 0.4) {
      worker.disconnect();
      setTimeout(() => worker.exists && worker.connect(), random.next() * 20);
    }
    if (dice < 0.6) execution.yield("half");
    execution.return(`${assigned.invocationId}/${assigned.attemptNumber}`);
  };

  const functionOf = new Map<string, string>();
  let isFaulty = true;
  let lostLeases = 0;
  const schedulers = [0, 1].map(() => {
    const faults = faultyDispatch(test.dispatch);
    faults.before = async () => {
      if (isFaulty && random.chance(0.05)) throw new Refusal("Unavailable", "not now");
    };
    faults.after = async (method) => {
      if (!isFaulty || !random.chance(0.05)) return;
      if (method === "streamLeases" && lostLeases++ >= 2) return;
      throw new Refusal("Unavailable", "the answer was lost");
    };
    return createTestScheduler(test, {
      dispatch: faults.client,
      run,
      maxWorkers: 6,
      spareWorkers: 1,
      takesFirstWork: true,
    });
  });
  await Promise.all(schedulers.map(({ service }) => service.start()));

  const ids: string[] = [];
  for (let i = 0; i < COUNT; i++) {
    const name = random.chance(0.5) ? "fresh" : "warm";
    const id = await test.start(name);
    functionOf.set(id, name);
    ids.push(id);
  }
  // What hangs is cancelled, and something else with it.
  const cancelling = setInterval(() => {
    for (const [{ worker, assigned }] of live) {
      if (worker.exists && random.chance(0.05)) void test.cancel(assigned.invocationId).catch(() => {});
    }
  }, 30);
  setTimeout(() => {
    isFaulty = false;
  }, 5_000);
  const open = new Set(ids);
  await vi.waitFor(
    async () => {
      for (const id of open) if ((await test.get(id)).terminated) open.delete(id);
      expect([...open]).toEqual([]);
    },
    { timeout: 50_000, interval: 100 },
  );
  clearInterval(cancelling);

  expect(most).toBeLessThanOrEqual(MAX_CONCURRENCY);
  for (const id of ids) {
    const { status, executions, result, numFailedAttempts } = await test.get(id);
    expect([Status.SUCCEEDED, Status.CANCELLED]).toContain(status);
    expect(executions.map(({ attemptNumber }) => attemptNumber)).toEqual(executions.map((_, index) => index + 1));
    expect(executions.filter(({ outcome }) => outcome === Outcome.FAILED)).toHaveLength(numFailedAttempts);
    const last = executions.at(-1);
    if (status !== Status.SUCCEEDED || result === undefined) continue;
    expect(last?.outcome).toBe(Outcome.SUCCEEDED);
    expect(decode(result)).toBe(`${id}/${executions.length}`);
  }
  const queues = await test.db.read((tx) => tx.all("SELECT used, queued FROM queues"));
  expect(queues).toEqual([
    { used: 0, queued: 0 },
    { used: 0, queued: 0 },
  ]);
  for (const scheduler of schedulers) {
    await scheduler.stop();
    expect(scheduler.runtime.workers.size).toBe(0);
  }
  await test.close();
});
