import { afterAll, beforeAll, expect, test } from "vitest";
import { connectTarget, type DeployedProject, type Target } from "../harness/connected_target.js";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { untilStatus, untilTerminated } from "../harness/observe.js";
import type { RunningTarget } from "../harness/running_target.js";
import { startTarget } from "../harness/start_target.js";
import { openTarget } from "../harness/target.js";

const MAIN = `
  import { getContext, Multinode } from "multinode";
  import { passGate } from "./gate.js";
  export const mn = new Multinode();
  const run = async (gate: string) => {
    await passGate(gate);
    return getContext().attemptNumber;
  };
  export const retried = mn.function({ maxRetries: 1 }, run);
  export const once = mn.function(run);
  export const queued = mn.function({ maxConcurrency: 1, maxRetries: 1 }, (index: number) => index);
`;

let running: RunningTarget;
let target: Target;
let project: DeployedProject;
const gates = await Gates.open();
beforeAll(async () => {
  await using shared = openTarget();
  // One of its own: the others' invocations are not to be disturbed. Its workers are processes, which end with their server,
  // whatever the shared one has; cluster/crash.test.ts is the counterpart for workers in containers.
  running = await startTarget(shared.kind);
  target = connectTarget(running);
  project = await target.deploy({ "main.ts": MAIN, "gate.ts": GATE_SOURCE });
});
afterAll(async () => {
  gates.close();
  await target.close();
  await running.stop();
});

test("a crash loses nothing that was answered: starts are stored, attempts are retried, waits go on", async () => {
  const gate = gates.place();
  const [retried, once] = [
    project.fn<(gate: string) => number>("retried"),
    project.fn<(gate: string) => number>("once"),
  ];
  const queued = project.fn<(index: number) => number>("queued");
  const again = await retried.start(gate);
  const lost = await once.start(gate);
  await Promise.all([untilStatus(retried, again, "RUNNING"), untilStatus(once, lost, "RUNNING")]);
  const waiting = retried.awaitResult(again);
  const states: number[] = [];
  const watching = (async () => {
    for await (const { revision } of retried.watch(again)) states.push(revision);
  })();
  const ids = await Promise.all(Array.from({ length: 10 }, (_, index) => queued.start(index)));
  await running.crash();
  gates.open(gate);

  expect(await waiting).toBe(2);
  await watching;
  expect(states).toEqual([...new Set(states)].toSorted((a, b) => a - b));
  expect(await Promise.all(ids.map((id) => queued.awaitResult(id)))).toEqual(ids.map((_, index) => index));
  const ended = await untilTerminated(retried, again);
  expect(ended).toMatchObject({ status: "SUCCEEDED", numFailedAttempts: 1 });
  expect(ended.executions.map(({ outcome }) => outcome)).toEqual(["FAILED", "SUCCEEDED"]);
  const failed = await untilTerminated(once, lost);
  expect(failed).toMatchObject({ status: "FAILED", numFailedAttempts: 1 });
  expect(failed.error).toMatch(/^WorkerLostError: /);
});
