import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { InvocationStatus, ListOptions } from "../../sdk/typescript/src/index.js";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { untilStatus, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { Multinode } from "multinode";
  import { passGate } from "./gate.js";
  export const mn = new Multinode();
  export const queued = mn.function({ maxConcurrency: 1, gracePeriod: 0 }, (gate: string) => passGate(gate));
  export const growing = mn.function({ maxConcurrency: 1, gracePeriod: 0 }, (gate: string) => passGate(gate));
  export const mixed = mn.function({ maxInvocationsPerWorker: Infinity }, async (fails: boolean, gate?: string) => {
    if (gate !== undefined) await passGate(gate);
    if (fails) throw new Error("no");
  });
  export const other = mn.function({ maxInvocationsPerWorker: Infinity }, () => "other");
  export const unused = mn.function(() => undefined);
`;

let target: Target;
let project: DeployedProject;
const gates = await Gates.open();
beforeAll(async () => {
  target = openTarget();
  project = await target.deploy({ "main.ts": MAIN, "gate.ts": GATE_SOURCE });
});
afterAll(async () => {
  await target.client.registry.deleteProject({ projectName: project.projectName });
  gates.close();
  await target.close();
});

/** Every id, page after page. */
async function listAll(name: string, options: ListOptions = {}, afterPage?: () => Promise<unknown>): Promise<string[]> {
  const ids: string[] = [];
  let offset: string | undefined;
  do {
    const page = await project.fn(name).list({ ...options, offset });
    ids.push(...page.invocationIds);
    offset = page.offset;
    await afterPage?.();
  } while (offset !== undefined);
  return ids;
}

async function startMany(name: string, count: number, gate: string): Promise<string[]> {
  const fn = project.fn<(gate: string) => void>(name);
  const ids: string[] = [];
  while (ids.length < count) ids.push(await fn.start(gate));
  return ids;
}

describe.concurrent("list", () => {
  test("newest first, 50 a page, and an offset where there are more", async () => {
    const started = await startMany("queued", 120, gates.place());
    const newestFirst = started.toReversed();
    const first = await project.fn("queued").list();
    expect(first.invocationIds).toEqual(newestFirst.slice(0, 50));
    expect(first.invocations.map(({ id }) => id)).toEqual(first.invocationIds);
    const second = await project.fn("queued").list({ offset: first.offset });
    expect(second.invocationIds).toEqual(newestFirst.slice(50, 100));
    const third = await project.fn("queued").list({ offset: second.offset });
    expect(third.invocationIds).toEqual(newestFirst.slice(100));
    expect(third.offset).toBeUndefined();
    expect(await listAll("queued", { pageSize: 7 })).toEqual(newestFirst);
  });

  test("while new invocations arrive none is listed twice and none is skipped", async () => {
    const gate = gates.place();
    const started = await startMany("growing", 30, gate);
    const listed = await listAll("growing", { pageSize: 10 }, () => startMany("growing", 3, gate));
    expect(new Set(listed).size).toBe(listed.length);
    expect(listed.filter((id) => started.includes(id))).toEqual(started.toReversed());
  });

  test("of a function without invocations it is empty", async () => {
    expect(await project.fn("unused").list()).toEqual({ invocationIds: [], invocations: [], offset: undefined });
  });

  test("an item has the metadata of its invocation, without result and executions", async () => {
    const fn = project.fn("other");
    const id = await fn.start();
    const { executions: _, ...invocation } = await untilTerminated(fn, id);
    const { invocations } = await fn.list();
    expect(invocations.find((item) => item.id === id)).toEqual({ ...invocation, result: undefined, executions: [] });
  });

  test("an offset that was not given by this server for this listing is refused", async () => {
    await Promise.all([project.fn("other").start(), project.fn("other").start()]);
    const { offset = "" } = await project.fn("other").list({ pageSize: 1 });
    const forged = [`${offset}x`, "nonsense", offset.slice(0, -2)];
    for (const bad of forged) {
      await expect(project.fn("other").list({ offset: bad })).rejects.toMatchObject({
        reason: "OffsetIsInvalid",
        code: 3,
      });
    }
    const otherListing = project.fn("mixed").list({ offset });
    await expect(otherListing).rejects.toMatchObject({ reason: "OffsetIsInvalid" });
  });
});

describe("filters", () => {
  test("by status, version, parent and time", async () => {
    const gate = gates.place();
    const fn = project.fn<(fails: boolean, gate?: string) => void>("mixed");
    const succeeded = await fn.start(false);
    const failed = await fn.start(true);
    await untilTerminated(fn, succeeded);
    const { createdAt } = await untilTerminated(fn, failed);
    const running = await fn.start(false, gate);
    await untilStatus(fn, running, "RUNNING");

    const byStatus = (status: InvocationStatus | InvocationStatus[]) => listAll("mixed", { status });
    expect(await byStatus("SUCCEEDED")).toEqual([succeeded]);
    expect(await byStatus("FAILED")).toEqual([failed]);
    expect(await byStatus(["RUNNING", "FAILED"])).toEqual([running, failed]);
    expect(await byStatus("TIMED_OUT")).toEqual([]);

    const after = new Date(createdAt.getTime() + 1);
    expect(await listAll("mixed", { createdFrom: after })).toEqual([running]);
    expect(await listAll("mixed", { createdBefore: after })).toEqual([failed, succeeded]);

    const { versionId } = await target.deploy(
      { "main.ts": MAIN, "gate.ts": GATE_SOURCE },
      { projectName: project.projectName },
    );
    const upgraded = await fn.start(false);
    expect(await listAll("mixed", { versionId })).toEqual([upgraded]);
    expect(await listAll("mixed", { versionId: "Latest" })).toEqual([upgraded]);
    expect(await listAll("mixed", { versionId: project.versionId })).toEqual([running, failed, succeeded]);
    expect(await listAll("mixed", { parent: succeeded })).toEqual([]);
    gates.open(gate);
  });
});
