import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { connectTarget } from "../../harness/connected_target.js";
import { standsStill } from "../../harness/process_status.js";
import { isAlive, type ProcessName, signalProcess, until } from "../processes.js";
import { RestartableServer } from "../server.js";

/** Longest time for a state that is waited for. */
const BOUND_MS = 20_000;

let folder: string;
let server: RestartableServer;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-faults-"));
  server = new RestartableServer(join(folder, "data"));
});
afterEach(async () => {
  await server.kill();
  // What a test has stopped cannot end by itself.
  for (const worker of server.workers) if (isAlive(worker)) signalProcess(worker.pid, "SIGKILL");
  await rm(folder, { recursive: true, force: true });
});

test("Ctrl-C ends it with exit status 0 and without a process left; what ran is tried again after the next start", async () => {
  const first = connectTarget(await server.start());
  const project = await first.deploy({ "main.ts": TASKS });
  const waits = project.fn<(gate: string) => number>("waits");
  const waitsOnce = project.fn<(gate: string) => number>("waitsOnce");
  const gate = join(folder, "gate");
  const [id, onlyOnce, queued] = [await waits.start(gate), await waitsOnce.start(gate), await waits.start(gate)];
  for (const running of [waits.watch(id), waitsOnce.watch(onlyOnce)]) {
    for await (const { status } of running) if (status === "RUNNING") break;
  }

  const workers = server.seeWorkers();
  expect(workers.length).toBeGreaterThan(0);
  expect(await server.interrupt("SIGINT")).toBe(0);
  expect(await until(() => !workers.some(isAlive), BOUND_MS)).toBe(true);
  expect(await readdir(join(server.dataDir, "workers"))).toEqual([]);
  await first.close();

  await using second = connectTarget(await server.start());
  await writeFile(gate, "");
  const again = second.fn<(gate: string) => number>(project.projectName, "waits");
  expect(await again.awaitResult(id)).toBe(2);
  expect(await again.awaitResult(queued)).toBe(1);
  const { numFailedAttempts, executions } = await again.get(id);
  expect(numFailedAttempts).toBe(1);
  expect(executions.map(({ outcome }) => outcome)).toEqual(["FAILED", "SUCCEEDED"]);
  expect(executions[0]?.error).toMatch(/^WorkerLostError: .*its server was stopped$/);
  const lost = second.fn<(gate: string) => number>(project.projectName, "waitsOnce");
  await expect(lost.awaitResult(onlyOnce)).rejects.toThrow("WorkerLostError");
});

test("SIGTERM does the same", async () => {
  await server.start();
  const workers = server.seeWorkers();
  expect(await server.interrupt("SIGTERM")).toBe(0);
  expect(await until(() => !workers.some(isAlive), BOUND_MS)).toBe(true);
});

test("a worker that was stopped when its server was killed is ended by the next start", async () => {
  const target = connectTarget(await server.start());
  await using project = { ...(await target.deploy({ "main.ts": TASKS })), [Symbol.asyncDispose]: () => target.close() };
  const begun = join(folder, "begun");
  await project.fn<(gate: string) => number>("tellsAndWaits").start(begun);
  expect(await until(() => existsSync(begun) && readFileSync(begun, "utf8") !== "", BOUND_MS)).toBe(true);
  const workers = server.seeWorkers();
  for (const { pid } of workers) signalProcess(pid, "SIGSTOP");
  // Each thread stops when it has its next turn; one that has not may still see the server go.
  expect(await until(() => workers.every((worker) => standsStill(worker.pid) || !isAlive(worker)), BOUND_MS)).toBe(
    true,
  );
  const runs = Number(readFileSync(begun, "utf8"));
  const pidsOf = (names: readonly ProcessName[]) => names.filter(isAlive).map(({ pid }) => pid);
  expect(pidsOf(workers)).toContain(runs);
  await server.kill();
  // A worker that was just being ended may be gone; the one that runs the function is not.
  const left = workers.filter(isAlive);
  expect(pidsOf(left)).toContain(runs);
  await server.start();
  expect(await until(() => !left.some(isAlive), BOUND_MS)).toBe(true);
});

const TASKS = `import { existsSync, writeFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { getContext, Multinode } from "multinode";

export const mn = new Multinode();

async function untilOpen(gate: string): Promise<number> {
  while (!existsSync(gate)) await delay(20);
  return getContext().attemptNumber;
}

export const waits = mn.function({ maxRetries: 1, maxConcurrency: 1 }, untilOpen);
export const waitsOnce = mn.function(untilOpen);
export const tellsAndWaits = mn.function(async (file: string) => {
  writeFileSync(file, String(process.pid));
  await delay(3_600_000);
  return 0;
});
`;
