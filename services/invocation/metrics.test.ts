/** What is counted where end-to-end tests cannot look: many functions, and times that clocks disagree about. */
import { expect, test } from "vitest";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { createLogger } from "../platform/log.js";
import { Metrics } from "../platform/metrics/metrics.js";
import type { LifeObserver } from "./announcer.js";
import { NEW_LIFE } from "./domain/life.js";
import { measureInvocations } from "./metrics.js";
import type { Identity } from "./store.js";
import { openTestInvocations, reports } from "./test_invocation.js";

const log = createLogger("test", "silent");

function identity(functionName: string): Identity {
  const ids = { id: "inv", projectId: "prj", versionId: "ver", parentId: null };
  return { ...ids, projectName: "p", functionName, depth: 0, createdAt: 0, expiresAt: null };
}

function observed(): { observer: LifeObserver; text: () => Promise<string> } {
  const metrics = new Metrics(log);
  let observer: LifeObserver | undefined;
  const announcer = { observe: (given: LifeObserver) => void (observer = given) };
  const db = { peek: async () => [] };
  measureInvocations(metrics, { announcer, db, store: {}, clock: { now: () => 0 } } as never);
  if (observer === undefined) throw new Error("nothing is observed");
  return { observer, text: () => metrics.text() };
}

test("functions beyond the limit are counted together", async () => {
  const { observer, text } = observed();
  for (let i = 0; i < LIMITS.metricsFunctions + 5; i++)
    observer.started([{ identity: identity(`f${i}`), life: NEW_LIFE }]);
  observer.started([{ identity: identity("f0"), life: NEW_LIFE }]);
  const lines = (await text()).split("\n").filter((line) => line.startsWith("multinode_invocations_started_total{"));
  expect(lines.length).toBe(LIMITS.metricsFunctions + 1);
  expect(lines).toContain('multinode_invocations_started_total{project="p",function="f0"} 2');
  expect(lines).toContain('multinode_invocations_started_total{project="*",function="*"} 5');
});

test("a time is never negative, whatever the clocks of two machines say", async () => {
  const { observer, text } = observed();
  const times = { createdAt: 1_000, startedAt: 900, finishedAt: 800 };
  const ended = { id: "exe", attemptNumber: 1, epoch: 1, schedulerId: "s", workerId: "w", error: "", ...times };
  const after = { ...NEW_LIFE, status: "SUCCEEDED" as const };
  const change = { identity: identity("f"), before: { ...NEW_LIFE, availableAt: 1_500 }, after, released: [] };
  observer.changed([{ ...change, ended: [{ ...ended, outcome: "SUCCEEDED" }] }]);
  for (const part of ["queue", "place", "run"])
    expect(await text()).toContain(`multinode_execution_${part}_seconds_sum{project="p",function="f"} 0\n`);
});

test("an attempt waits from the end of its retry delay on, and a child that is born cancelled has ended", async () => {
  const metrics = new Metrics(log);
  const invocations = await openTestInvocations(undefined, {}, undefined, metrics);
  try {
    const { catalog, clock } = invocations;
    catalog.add("retried", {
      maxRetries: 1,
      retryDelay: { initialMs: 60_000, factor: 1, ceilingMs: 60_000, jitter: 0 },
    });
    const scheduler = invocations.ids.next("sch");
    const id = await invocations.start("retried");
    const first = await invocations.leaseOne(scheduler);
    await invocations.report(reports.started(first), reports.threw(first), reports.released(first));
    clock.forward(61_000);
    const second = await invocations.leaseOne(scheduler);
    await invocations.report(reports.started(second));
    await invocations.cancel(id);
    const child = await invocations.start("retried", { parentInvocationId: id });
    expect((await invocations.get(child)).executions).toEqual([]);
    await invocations.report(reports.threw(second, { interrupted: true }));
    const of = `{project="${catalog.projectName}",function="retried"`;
    const text = await metrics.text();
    const [, waited = ""] = new RegExp(`multinode_execution_queue_seconds_sum${of}} (.*)`).exec(text) ?? [];
    expect(Number(waited)).toBeLessThan(30);
    expect(text).toContain(`multinode_invocations_finished_total${of},status="CANCELLED"} 2\n`);
    expect(text).toContain(`multinode_executions_ended_total${of},outcome="FAILED"} 1\n`);
    expect(text).toContain(`multinode_invocations_started_total${of}} 2\n`);
  } finally {
    await invocations.close();
  }
});
