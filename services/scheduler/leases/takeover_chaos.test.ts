/** Schedulers that are killed, started again and paused past their lease at random, over workers that live. */
import { expect, it, vi } from "vitest";
import { Outcome, Status } from "../../../gen/multinode/invocation/v1/invocation.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { Random } from "../../../test/chaos/random.js";
import type { FakeExecution } from "../runtime/fake.js";
import { openTestCluster, type Replica } from "../test_cluster.js";

const COUNT = 300;
const MAX_CONCURRENCY = 5;
const MAX_RETRIES = 20;
const ROUNDS = 25;

it("never exceeds a limit, and spends no attempt whose worker lived", { timeout: 90_000 }, async () => {
  const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
  console.info(`seed ${seed}`);
  const random = new Random(seed);
  const names = new Map<string, string>();
  const began: FakeExecution[] = [];
  const returned = new Set<string>();
  const most = { fresh: 0, warm: 0 };
  const run = (execution: FakeExecution) => {
    began.push(execution);
    // A slot of a fresh function is held as long as the worker exists; of a warm one, as long as it runs.
    const live = began.filter(({ worker, assigned }) => worker.exists && names.get(assigned.invocationId) === "fresh");
    most.fresh = Math.max(most.fresh, live.length);
    const warm = began.filter((other) => other.worker.exists && !returned.has(other.id));
    const isWarm = ({ assigned }: FakeExecution) => names.get(assigned.invocationId) === "warm";
    most.warm = Math.max(most.warm, warm.filter(isWarm).length);
    setTimeout(() => {
      if (random.chance(0.3) && execution.worker.exists) {
        execution.worker.disconnect();
        execution.worker.connect();
      }
      if (random.chance(0.3)) execution.yield("half");
      returned.add(execution.id);
      execution.return(`${execution.assigned.invocationId}/${execution.assigned.attemptNumber}`);
    }, random.next() * 150);
  };
  const cluster = await openTestCluster(run, { fenced: true });
  const { invocations } = cluster;
  const cpu = random.chance(0.5) ? 1 : 0.5; // with a whole one a worker is started for it
  invocations.catalog.add("fresh", { cpu, maxConcurrency: MAX_CONCURRENCY, maxRetries: MAX_RETRIES });
  const warm = { maxInvocationsPerWorker: 0, workerConcurrency: 3 };
  invocations.catalog.add("warm", { ...warm, maxConcurrency: MAX_CONCURRENCY, maxRetries: MAX_RETRIES });
  const options = { maxWorkers: 8, spareWorkers: 1 };
  const living: Replica[] = [await cluster.open(options), await cluster.open(options)];
  const ids: string[] = [];
  for (let i = 0; i < COUNT; i++) {
    const name = random.chance(0.5) ? "fresh" : "warm";
    const id = await invocations.start(name);
    names.set(id, name);
    ids.push(id);
  }

  for (let round = 0; round < ROUNDS; round++) {
    await new Promise((resolve) => setTimeout(resolve, random.next() * 150));
    const victim = living.splice(Math.floor(random.next() * living.length), 1)[0];
    if (victim === undefined) throw new Error("nobody lives");
    const dice = random.next();
    if (dice < 0.6) {
      victim.kill();
      living.push(await cluster.open(dice < 0.3 ? { ...options, schedulerId: victim.id } : options));
    } else {
      const wake = victim.pause();
      await new Promise((resolve) => setImmediate(resolve)); // its workers notice
      // All that it holds is with others before its lease is over, as the workers' fence sees to.
      await vi.waitFor(() => {
        const adrift = [...cluster.engine.workers.values()].filter(
          ({ running, isAdrift }) => isAdrift && running.length > 0,
        );
        expect(adrift).toEqual([]);
      });
      await cluster.forward(random.chance(0.5) ? LIMITS.leaseDurationMs + 2_000 : 10_000);
      wake();
      living.push(victim);
    }
  }
  const open = new Set(ids);
  await vi.waitFor(
    async () => {
      await cluster.forward(4_000); // what a dead one had leased and not placed
      for (const id of open) if ((await invocations.get(id)).terminated) open.delete(id);
      expect([...open]).toEqual([]);
    },
    { timeout: 50_000, interval: 100 },
  );

  expect(most.fresh).toBeLessThanOrEqual(MAX_CONCURRENCY);
  expect(most.warm).toBeLessThanOrEqual(MAX_CONCURRENCY);
  const ran = new Set(began.map(({ id }) => id));
  expect(began).toHaveLength(ran.size);
  for (const id of ids) {
    const { status, executions } = await invocations.get(id);
    expect(status).toBe(Status.SUCCEEDED);
    expect(executions.length).toBeLessThanOrEqual(MAX_RETRIES + 1);
    expect(executions.filter(({ outcome }) => outcome === Outcome.SUCCEEDED)).toHaveLength(1);
    // What no worker was given before its scheduler died is lost with it; what ran is not.
    for (const { executionId, outcome } of executions)
      if (outcome === Outcome.FAILED) expect(ran).not.toContain(executionId);
  }
  const queues = await invocations.db.read((tx) => tx.all("SELECT used, queued FROM queues"));
  expect(queues).toEqual([
    { used: 0, queued: 0 },
    { used: 0, queued: 0 },
  ]);
  await cluster.close();
});
