/** Workers that nobody knows, some of which cannot be removed. */
import { expect, it, vi } from "vitest";
import { Status } from "../../../gen/multinode/invocation/v1/invocation.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { openTestCluster } from "../test_cluster.js";
import { becomes, openTestScheduler } from "../test_scheduler.js";

const WAIT = { timeout: 8_000, interval: 5 };
const NEVER = new Promise<void>(() => {});

it("one that cannot be stopped holds up no other, and no later look", async () => {
  const test = await openTestScheduler({ strangersIntervalMs: 5 });
  const stop = vi.spyOn(test.runtime, "stop").mockImplementation((id) => (id === "stuck" ? NEVER : Promise.resolve()));
  const list = vi.spyOn(test.runtime, "list").mockResolvedValue(["stuck", "other"]);
  await vi.waitFor(() => expect(stop).toHaveBeenCalledWith("other"), WAIT);
  list.mockResolvedValue(["stuck", "later"]);
  await vi.waitFor(() => expect(stop).toHaveBeenCalledWith("later"), WAIT);
  expect(stop.mock.calls.filter(([id]) => id === "stuck")).toHaveLength(1);
  await test.close();
});

it("one whose stop fails is stopped again", async () => {
  const test = await openTestScheduler({ strangersIntervalMs: 5 });
  const stop = vi.spyOn(test.runtime, "stop").mockRejectedValueOnce(new Error("not now")).mockResolvedValue();
  vi.spyOn(test.runtime, "list").mockResolvedValue(["stuck"]);
  await vi.waitFor(() => expect(stop.mock.calls.length).toBeGreaterThan(1), WAIT);
  await test.close();
});

it("one that cannot be stopped keeps nothing open that was held for a scheduler that is gone", async () => {
  const cluster = await openTestCluster();
  const [one] = [await cluster.open({ spareWorkers: 3 }), await cluster.open({ maxWorkers: 0 })];
  await vi.waitFor(() => expect(cluster.engine.workers.size).toBe(3), WAIT);
  const [stuck, ...others] = cluster.engine.workers.values();
  if (stuck === undefined) throw new Error("no worker was started");
  stuck.stopGate = NEVER;
  cluster.engine.held.add(one.id);
  one.kill();
  await cluster.forward(LIMITS.leaseDurationMs + LIMITS.workerOrphanMs);
  await vi.waitFor(async () => {
    await cluster.forward(4_000);
    expect(others.some(({ exists }) => exists)).toBe(false);
    expect([...cluster.engine.held]).toEqual([]);
  }, WAIT);
  expect(stuck.isStopping).toBe(true);
  await cluster.close();
});

it("remains that cannot be removed keep no execution running, whose scheduler starts again", async () => {
  const cluster = await openTestCluster();
  const { engine, invocations } = cluster;
  const schedulerId = invocations.ids.next("sch");
  const before = await cluster.open({ schedulerId });
  invocations.catalog.add("f");
  const id = await invocations.start("f");
  await becomes(invocations, id, { status: Status.RUNNING });
  const [worker] = engine.workers.values();
  if (worker === undefined) throw new Error("no worker was started");
  before.kill();
  worker.die("was killed");
  engine.workers.set(worker.id, worker);
  worker.stopGate = NEVER;
  await cluster.open({ schedulerId });
  await becomes(invocations, id, { status: Status.FAILED, terminated: true });
  await cluster.close();
});
