/** What operators are told: what each process of the installation counts of what is done here. */
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, inject, test, vi } from "vitest";
import { tableRows } from "../docs/tables.js";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { untilStatus } from "../harness/observe.js";
import { repositoryFile } from "../harness/repository.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { Multinode } from "multinode";
  import { passGate } from "./gate.js";
  export const mn = new Multinode();
  export const double = mn.function((value: number) => value * 2);
  export const fails = mn.function({ maxRetries: 1 }, () => { throw new Error("always"); });
  export const one = mn.function({ maxConcurrency: 1 }, passGate);
`;
/** Counted right after what is counted, at whichever replica. */
const SOON = { timeout: 20_000, interval: 50 };

let target: Target;
let project: DeployedProject;
const gates = await Gates.open();
beforeAll(async () => {
  target = openTarget();
  project = await target.deploy({ "main.ts": MAIN, "gate.ts": GATE_SOURCE });
});
afterAll(async () => {
  gates.close();
  await target.close();
});

type Labels = Readonly<Record<string, string>>;
interface Sample {
  readonly name: string;
  readonly labels: Labels;
  readonly value: number;
}

/** Of each process. */
async function scrape(): Promise<string[]> {
  return await Promise.all(
    inject("targetMetricsUrls").map(async (url) => {
      const response = await fetch(url);
      expect([response.status, response.headers.get("content-type")]).toEqual([
        200,
        "text/plain; version=0.0.4; charset=utf-8",
      ]);
      return await response.text();
    }),
  );
}

function samplesOf(text: string): Sample[] {
  const samples = [];
  for (const [, name = "", labels = "", value] of text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)) {
    const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, content]) => [key, content] as const);
    samples.push({ name, labels: Object.fromEntries(pairs), value: Number(value) });
  }
  return samples;
}

/** The values of a metric with these labels, wherever it is told. */
async function valuesOf(name: string, labels: Labels = {}): Promise<number[]> {
  const samples = (await scrape()).flatMap(samplesOf);
  const isMeant = (sample: Sample) =>
    sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value);
  return samples.filter(isMeant).map(({ value }) => value);
}

async function sum(name: string, labels: Labels = {}): Promise<number> {
  return (await valuesOf(name, labels)).reduce((total, value) => total + value, 0);
}

const of = (functionName: string) => ({ project: project.projectName, function: functionName });

describe("metrics", () => {
  test("count starts, ends and attempts by function, once however often a start is repeated", async () => {
    const double = project.fn<(value: number) => number>("double");
    expect(await Promise.all([1, 2, 3].map((value) => double.callRemote(value)))).toEqual([2, 4, 6]);
    for (let i = 0; i < 2; i++) await double.withOptions({ idempotencyKey: "once" }).callRemote(4);
    await expect(project.fn("fails").callRemote()).rejects.toThrow("always");
    await vi.waitFor(async () => {
      expect(await sum("multinode_invocations_started_total", of("double"))).toBe(4);
      expect(await sum("multinode_invocations_finished_total", { ...of("double"), status: "SUCCEEDED" })).toBe(4);
      expect(await sum("multinode_executions_ended_total", { ...of("double"), outcome: "SUCCEEDED" })).toBe(4);
      expect(await sum("multinode_invocations_finished_total", { ...of("fails"), status: "FAILED" })).toBe(1);
      expect(await sum("multinode_executions_ended_total", { ...of("fails"), outcome: "FAILED" })).toBe(2);
    }, SOON);
    for (const part of ["queue", "place", "run"]) {
      const name = `multinode_execution_${part}_seconds`;
      expect(await sum(`${name}_count`, of("double"))).toBe(4);
      expect(await sum(`${name}_sum`, of("double"))).toBeLessThan(4 * 60);
    }
    expect(await sum("multinode_execution_place_seconds_sum", of("double"))).toBeGreaterThan(0);
  });

  test("show what waits, for how long, and which slots are used", async () => {
    const one = project.fn<(gate: string) => void>("one");
    const gate = gates.place();
    const first = await one.start(gate);
    await untilStatus(one, first, "RUNNING");
    const waiting = [await one.start(gate), await one.start(gate)];
    const queue = async () => {
      const parts = ["waiting", "slots_used", "slots"].map((part) => valuesOf(`multinode_queue_${part}`, of("one")));
      return (await Promise.all(parts)).map((values) => [...new Set(values)]);
    };
    await vi.waitFor(async () => expect(await queue()).toEqual([[2], [1], [1]]), SOON);
    const oldest = async () => Math.max(...(await valuesOf("multinode_queue_oldest_seconds", of("one"))));
    await vi.waitFor(async () => expect(await oldest()).toBeGreaterThan(0.2), SOON);
    for (const id of waiting) await one.cancel(id);
    gates.open(gate);
    await vi.waitFor(async () => expect(await queue()).toEqual([[0], [0], [1]]), SOON);
    expect(await oldest()).toBe(0);
    expect(await sum("multinode_invocations_finished_total", { ...of("one"), status: "CANCELLED" })).toBe(2);
  });

  test("tell of schedulers and their workers", async () => {
    const gate = gates.place();
    const one = project.fn<(gate: string) => void>("one");
    await untilStatus(one, await one.start(gate), "RUNNING");
    expect(await sum("multinode_executions", { place: "worker" })).toBeGreaterThanOrEqual(1);
    expect(await sum("multinode_workers", { state: "active" })).toBeGreaterThanOrEqual(1);
    gates.open(gate);
    const leases = await valuesOf("multinode_scheduler_lease_seconds");
    expect(leases.length).toBe(target.schedulers);
    for (const lease of leases) expect(lease).toBeGreaterThan(0);
    expect(await sum("multinode_workers_limit")).toBeGreaterThanOrEqual(32);
    expect(await sum("multinode_worker_starts_total")).toBeGreaterThanOrEqual(1);
  });

  test("count calls by method and by what they were answered", async () => {
    const call = { grpc_service: "multinode.invocation.v1.InvocationService", grpc_method: "GetInvocation" };
    const refused = () => sum("grpc_server_handled_total", { ...call, grpc_type: "unary", grpc_code: "NOT_FOUND" });
    const before = await refused();
    await expect(project.fn("double").get("inv-00000000000000000000000000")).rejects.toThrow("does not exist");
    await vi.waitFor(async () => expect(await refused()).toBeGreaterThan(before), SOON);
    expect(await sum("grpc_server_handling_seconds_count", call)).toBeGreaterThan(before);
    const watches = { grpc_method: "WatchInvocations", grpc_type: "bidi_stream" };
    const gate = gates.place();
    const waiting = project.fn<(gate: string) => void>("one").callRemote(gate);
    const open = async () =>
      (await sum("grpc_server_started_total", watches)) - (await sum("grpc_server_handled_total", watches));
    await vi.waitFor(async () => expect(await open()).toBeGreaterThanOrEqual(1), SOON);
    gates.open(gate);
    await waiting;
  });

  test("are those that docs/metrics.md lists, with their kinds, and those that the alerts ask for", async () => {
    const told = new Map<string, string>();
    for (const text of await scrape()) {
      for (const [, name = "", kind = ""] of text.matchAll(/^# TYPE ((?:multinode|grpc)_\w+) (\w+)$/gm))
        told.set(name, kind);
      expect(text).toContain("process_resident_memory_bytes ");
    }
    const read = (path: string) => readFile(repositoryFile(path), "utf8");
    const rows = tableRows(await read("docs/metrics.md"), ["metric", "kind", "labels"]);
    expect(Object.fromEntries(told)).toEqual(Object.fromEntries(rows.map(([name, kind]) => [name, kind])));
    const alerts = await read("deploy/prometheus/alerts.yml");
    const asked = [...alerts.matchAll(/\b(?:multinode|grpc)_[a-z_]+(?=[{[) ])/g)].map(([name]) => name);
    const labels = ["grpc_service", "grpc_method", "grpc_code"];
    expect(asked.filter((name) => !told.has(name) && !labels.includes(name))).toEqual([]);
  });
});
