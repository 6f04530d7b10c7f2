/**
 * Everything is killed at the same moment, while functions run in containers. The counterpart of e2e/restart.test.ts, where
 * workers are processes that end with their scheduler: containers live on, so that a crash costs no attempt.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { ClusterContainers } from "../harness/cluster_containers.js";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { eventually, untilStatus, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { Multinode } from "multinode";
  import { holdLine, passGate } from "./gate.js";
  export const mn = new Multinode();
  export const once = mn.function(async (line: string, gate: string) => {
    await holdLine(line);
    await passGate(gate);
    return "passed";
  });
  export const queued = mn.function({ maxConcurrency: 1, maxRetries: 1 }, (index: number) => index);
`;
const SERVICES = ["gateway", "worker-gate", "registry", "invocation-1", "invocation-2", "scheduler-1", "scheduler-2"];
const STORES = ["postgres", "nats"];

const gates = await Gates.open();
let target: Target;
let project: DeployedProject;
beforeAll(async () => {
  target = openTarget();
  project = await target.deploy({ "main.ts": MAIN, "gate.ts": GATE_SOURCE });
});
afterAll(async () => {
  gates.close();
  await target.close();
});

test("a crash of all services and stores loses nothing, and costs no attempt of what runs in a container", async () => {
  const [line, gate] = [gates.place(), gates.place()];
  const once = project.fn<(line: string, gate: string) => string>("once");
  const queued = project.fn<(index: number) => number>("queued");
  const running = await Promise.all([1, 2, 3].map(() => once.start(line, gate)));
  await Promise.all(running.map((id) => untilStatus(once, id, "RUNNING")));
  await eventually(
    () => gates.holders(line),
    ({ now }) => now === 3,
  );
  const waiting = running.map((id) => once.awaitResult(id));
  const ids = await Promise.all(Array.from({ length: 5 }, (_, index) => queued.start(index)));

  await new ClusterContainers().crash(...SERVICES, ...STORES);
  expect(await gates.holders(line)).toEqual({ now: 3, ever: 3 });
  gates.open(gate);

  expect(await Promise.all(waiting)).toEqual(["passed", "passed", "passed"]);
  // One of them may have been on its way to a worker: that it is lost is known when no worker can come with it any more.
  expect(await Promise.all(ids.map((id) => queued.awaitResult(id)))).toEqual(ids.map((_, index) => index));
  for (const id of running) {
    const { status, executions } = await untilTerminated(once, id);
    expect([status, executions.map(({ outcome }) => outcome)]).toEqual(["SUCCEEDED", ["SUCCEEDED"]]);
  }
});
