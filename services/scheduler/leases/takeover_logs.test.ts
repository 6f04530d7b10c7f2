/** The log of an execution whose scheduler is killed. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Status } from "../../../gen/multinode/invocation/v1/invocation.pb.js";
import { LogLine } from "../../../gen/multinode/invocation/v1/log_service.pb.js";
import { createSqlStore } from "../../invocation/sql/store.js";
import { FakeRuntime } from "../runtime/fake.js";
import { openTestCluster, type TestCluster } from "../test_cluster.js";
import { becomes } from "../test_scheduler.js";

const WAIT = { timeout: 8_000, interval: 5 };
let cluster: TestCluster;

beforeEach(async () => {
  cluster = await openTestCluster();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await cluster.close();
});

it("what it prints goes on behind what it has printed, whoever its scheduler is, and none of it is lost or there twice", async () => {
  const printed: ((workerId: string, stream: "stdout" | "stderr", line: string) => void)[] = [];
  vi.spyOn(FakeRuntime.prototype, "onOutput").mockImplementation((listener) => void printed.push(listener));
  const first = await cluster.open();
  cluster.invocations.catalog.add("f", { maxConcurrency: 1 });
  const id = await cluster.invocations.start("f");
  await becomes(cluster.invocations, id, { status: Status.RUNNING });
  const [execution = expect.fail()] = cluster.engine.executions;
  const say = (...numbers: number[]) => {
    const lines = numbers.map((lineNumber) =>
      LogLine.fromPartial({ executionId: execution.id, lineNumber, text: `said ${lineNumber}` }),
    );
    execution.worker.send([{ event: { $case: "logs", value: { lines } } }]);
  };
  const texts = async () =>
    (await cluster.invocations.db.read((tx) => createSqlStore().loadLogs(tx, execution.id, 0, 100))).map(
      ({ text }) => text,
    );
  const untilTexts = (expected: string[]) => vi.waitFor(async () => expect(await texts()).toEqual(expected), WAIT);
  say(1, 2);
  await untilTexts(["said 1", "said 2"]);
  for (const n of [1, 2, 3]) printed[0]?.(execution.worker.id, "stdout", `printed ${n}`);
  const before = ["said 1", "said 2", "printed 1", "printed 2", "printed 3"];
  await untilTexts(before);
  const second = await cluster.open();
  first.kill();
  await vi.waitFor(async () => {
    const { leases } = await cluster.invocations.dispatch.listLeases({ schedulerId: second.id });
    expect(leases).toHaveLength(1);
  }, WAIT);
  await vi.waitFor(() => expect(execution.worker.isAdrift).toBe(false), WAIT);
  say(2, 3, 4); // on a new connection a worker says again what may not have come
  await untilTexts([...before, "said 3", "said 4"]);
  printed[1]?.(execution.worker.id, "stdout", "printed 4");
  await untilTexts([...before, "said 3", "said 4", "printed 4"]);
  execution.return(1);
  await becomes(cluster.invocations, id, { status: Status.SUCCEEDED, terminated: true });
});
