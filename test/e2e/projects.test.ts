import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { eventually, untilState, untilStatus } from "../harness/observe.js";
import { openTarget, type Target } from "../harness/target.js";

const FILES = {
  "main.ts": `
    import { Multinode } from "multinode";
    import { note, passGate } from "./gate.js";
    export const mn = new Multinode();
    export const held = mn.function({ maxConcurrency: 1, gracePeriod: "10s" }, (gate: string) => passGate(gate));
    export const child = mn.function((gate: string) => passGate(gate));
    export const parent = mn.function(async function* (gate: string) {
      yield await child.start(gate);
      await passGate(gate);
    });
  `,
  "gate.ts": GATE_SOURCE,
};

let target: Target;
const gates = await Gates.open();
beforeAll(() => {
  target = openTarget();
});
afterAll(async () => {
  gates.close();
  await target.close();
});

const isGone = (projectName: string) =>
  target.client.registry.getProject({ projectName }).then(
    () => false,
    (error: { reason: string }) => error.reason === "ProjectDoesNotExist",
  );

describe.concurrent("projects", () => {
  test("a project is made, shown, listed and made only once", async () => {
    const projectName = target.newProjectName();
    const { project } = await target.client.registry.createProject({ projectName });
    expect(project).toMatchObject({ projectName, latestVersionId: "", deleting: false });
    await expect(target.client.registry.createProject({ projectName })).rejects.toMatchObject({
      reason: "ProjectAlreadyExists",
      code: 6,
    });
    const names: string[] = [];
    for (let offset = "", more = true; more; more = offset !== "") {
      const page = await target.client.registry.listProjects({ pageSize: 20, offset });
      names.push(...page.projects.map((listed) => listed.projectName));
      offset = page.nextOffset;
    }
    expect(names).toContain(projectName);
    expect(names).toEqual(names.toSorted());
    await target.client.registry.deleteProject({ projectName });
    await eventually(
      () => isGone(projectName),
      (gone) => gone,
    );
  });

  test("deleting refuses new versions and invocations at once, cancels all in flight, then removes the project", async () => {
    const { projectName, fn, versionId } = await target.deploy(FILES);
    const held = fn("held");
    const gate = gates.place();
    const running = await held.start(gate);
    await untilStatus(held, running, "RUNNING");
    const queued = await held.start(gate);
    const parent = await fn("parent").start(gate);
    const { result: child = "" } = await untilState(
      fn<() => string>("parent"),
      parent,
      ({ result }) => result !== undefined,
    );
    await untilStatus(fn("child"), child, "RUNNING");

    const { project } = await target.client.registry.deleteProject({ projectName });
    expect(project).toMatchObject({ projectName, deleting: true });
    // The functions ignore their interruption until the gate opens: the project is being deleted meanwhile.
    const shown = await target.client.registry.getProject({ projectName });
    expect(shown.project).toMatchObject({ deleting: true, latestVersionId: versionId });
    const refusal = { reason: "ProjectIsBeingDeleted", code: 9 };
    await expect(held.start(gate)).rejects.toMatchObject(refusal);
    await expect(target.deploy(FILES, { projectName })).rejects.toMatchObject(refusal);
    await expect(target.client.registry.createProject({ projectName })).rejects.toMatchObject(refusal);

    for (const [functionName, id] of Object.entries({ held: running, parent, child })) {
      await untilState(fn(functionName), id, ({ status }) => status === "CANCELLING");
    }
    await untilState(held, queued, ({ status }) => status === "CANCELLED");
    // It may be asked for again meanwhile.
    await target.client.registry.deleteProject({ projectName });
    gates.open(gate);
    await eventually(
      () => isGone(projectName),
      (gone) => gone,
    );
    await expect(held.get(running)).rejects.toMatchObject({ reason: "InvocationDoesNotExist" });
    await expect(held.start(gate)).rejects.toMatchObject({ reason: "ProjectDoesNotExist" });
    await expect(target.client.registry.getVersion({ projectName, versionId })).rejects.toMatchObject({
      reason: "ProjectDoesNotExist",
    });
  });

  test("the name of a removed project can be used again, without its past", async () => {
    const first = await target.deploy(FILES);
    const { projectName } = first;
    const gate = gates.place();
    gates.open(gate);
    await first.fn("held").callRemote(gate);
    await target.client.registry.deleteProject({ projectName });
    await eventually(
      () => isGone(projectName),
      (gone) => gone,
    );
    const second = await target.deploy(FILES, { projectName, policy: "MUST_BE_NEW" });
    expect((await second.fn("held").list()).invocationIds).toEqual([]);
    await second.fn("held").callRemote(gate);
    await expect(target.fn(projectName, "held", first.versionId).start(gate)).rejects.toMatchObject({
      reason: "VersionDoesNotExist",
    });
  });
});
