import { readdir } from "node:fs/promises";
import { afterEach, describe, expect, it } from "vitest";
import { BUNDLE_GRACE_MS } from "./bundles.js";
import { createRegistry, type RegistryService } from "./service.js";
import { createRegistryStore } from "./sql/sql_store.js";
import type { ProjectRecord } from "./store.js";
import { archiveOf, functionNamed, openTestParts, until } from "./test_registry.js";

type Parts = Awaited<ReturnType<typeof openTestParts>>;

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function open(): Promise<Parts> {
  const parts = await openTestParts();
  closers.push(() => parts.close());
  return parts;
}

function start(parts: Parts): RegistryService {
  const service = createRegistry(parts);
  service.start();
  closers.push(() => service.stop());
  return service;
}

/** A project with one version that uses a bundle of its own, being deleted. */
async function deletedProject(parts: Parts, projectName: string): Promise<ProjectRecord> {
  const store = createRegistryStore(parts.db);
  const { digest, bytes } = archiveOf(projectName);
  await parts.bundles.put(
    digest,
    (async function* () {
      yield bytes;
    })(),
  );
  const projectId = parts.ids.next("prj");
  await store.createVersion(
    {
      versionId: parts.ids.next("ver"),
      projectName,
      newProjectId: projectId,
      code: { source: { $case: "bundle", value: { digest } }, environment: {} },
      functions: [functionNamed("f")],
      createTimeMs: 1,
      requestId: "",
      requestDigest: "",
      forgetRequestsBeforeMs: 0,
    },
    () => ({ kind: "create" }),
  );
  const project = await store.markDeleting(projectName, 1);
  if (project === undefined) throw new Error("no project");
  return project;
}

describe("teardown", () => {
  it("goes on where an earlier process ended, and removes the project and its bundle", async () => {
    const parts = await open();
    const { projectId } = await deletedProject(parts, "p");
    parts.clock.advance(BUNDLE_GRACE_MS + 1);
    const store = createRegistryStore(parts.db);
    start(parts);
    await until(async () => (await store.listDeleting(1)).length === 0);
    const { calls } = parts.teardownClient;
    expect(calls).toEqual([`cancel ${projectId}`, ...Array.from({ length: 3 }, () => `purge ${projectId}`)]);
    await until(async () => (await readdir(parts.bundleFolder)).length === 0);
  });

  it("waits until all is terminated, and looks again when an invocation changed", async () => {
    const parts = await open();
    parts.teardownClient.isTerminated = false;
    const { projectId } = await deletedProject(parts, "p");
    const store = createRegistryStore(parts.db);
    start(parts);
    const { calls } = parts.teardownClient;
    await until(() => calls.length > 0);
    for (let event = 0; event < 3; event++) {
      const seen = calls.length;
      await until(() => {
        parts.bus.publish({ $case: "invocations", value: { invocations: [] } });
        return calls.length > seen;
      });
    }
    expect(new Set(calls)).toEqual(new Set([`cancel ${projectId}`]));
    expect(await store.listDeleting(1)).toHaveLength(1);
    parts.teardownClient.isTerminated = true;
    await until(async () => (await store.listDeleting(1)).length === 0);
  });

  it("goes on after failures, which do not hold up other projects", async () => {
    const parts = await open();
    const first = await deletedProject(parts, "first");
    await deletedProject(parts, "second");
    let failures = 2;
    const { teardownClient } = parts;
    const failing = {
      cancelProject: async (request: { projectId?: string }) => {
        if (request.projectId === first.projectId && failures-- > 0) throw new Error("not now");
        return await teardownClient.cancelProject(request);
      },
      purgeProject: (request: { projectId?: string }) => teardownClient.purgeProject(request),
    };
    const store = createRegistryStore(parts.db);
    start({ ...parts, teardownClient: failing as unknown as typeof teardownClient });
    await until(async () => (await store.findProjects(["second"])).length === 0);
    expect(await store.findProjects(["first"])).toHaveLength(1);
    await until(async () => (await store.findProjects(["first"])).length === 0);
  });

  it("follows a deletion, and frees the name", async () => {
    const parts = await open();
    const { registry } = start(parts);
    const call = {} as Parameters<typeof registry.createProject>[1];
    const find = () => createRegistryStore(parts.db).findProjects(["p"]);
    await registry.createProject({ projectName: "p" }, call);
    const [before] = await find();
    await registry.deleteProject({ projectName: "p" }, call);
    await until(async () => (await find()).length === 0);
    await registry.createProject({ projectName: "p" }, call);
    const [after] = await find();
    expect(after?.projectId).not.toBe(before?.projectId);
  });

  it("stops while a call is under way", async () => {
    const parts = await open();
    await deletedProject(parts, "p");
    let calls = 0;
    const hanging = {
      cancelProject: (_: unknown, options?: { signal?: AbortSignal }) =>
        new Promise<never>((_resolve, reject) => {
          calls += 1;
          options?.signal?.addEventListener("abort", () => reject(new Error("aborted")));
        }),
      purgeProject: () => Promise.reject(new Error("not called")),
    };
    const service = start({ ...parts, teardownClient: hanging as unknown as typeof parts.teardownClient });
    await until(() => calls === 1);
    await service.stop();
    expect(calls).toBe(1);
  });
});
