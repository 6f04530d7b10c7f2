/** What every implementation of the registry's store must do. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ApiKeyRole } from "../../gen/multinode/registry/v1/api_key_role.pb.js";
import { systemClock } from "../platform/clock.js";
import { IdSource } from "../platform/ids.js";
import type { Db } from "../platform/store/db.js";
import type { VersionDecision } from "./domain/version_decision.js";
import { createRegistryStore } from "./sql/sql_store.js";
import type { NewVersion, ProjectRecord, RegistryStore } from "./store.js";
import { bundleCode, functionNamed } from "./test_registry.js";

/** `open` answers an empty database with the tables of `registryMigrations`. */
export function testRegistryStore(open: () => Promise<{ readonly db: Db; close(): Promise<void> }>): void {
  let store: RegistryStore;
  let close: () => Promise<void>;
  const ids = new IdSource(systemClock);
  let names = 0;

  beforeAll(async () => {
    const opened = await open();
    store = createRegistryStore(opened.db);
    close = () => opened.close();
  });
  afterAll(() => close());

  const newName = () => `p${String(++names).padStart(3, "0")}`;
  const newProject = (projectName = newName()): ProjectRecord => ({
    projectId: ids.next("prj"),
    projectName,
    latestVersionId: "",
    createTimeMs: 1,
    isDeleting: false,
  });
  const newVersion = (projectName: string, more: Partial<NewVersion> = {}): NewVersion => ({
    versionId: ids.next("ver"),
    projectName,
    newProjectId: ids.next("prj"),
    code: bundleCode({ A: "1" }),
    functions: [functionNamed("f")],
    createTimeMs: 5,
    requestId: "",
    requestDigest: "",
    forgetRequestsBeforeMs: 0,
    ...more,
  });
  const create = (): VersionDecision => ({ kind: "create" });
  const find = async (projectName: string) => (await store.findProjects([projectName]))[0];

  describe("projects", () => {
    it("have distinct names", async () => {
      const project = newProject();
      expect(await store.createProject(project)).toBeUndefined();
      expect(await store.createProject(newProject(project.projectName))).toEqual(project);
      expect(await find(project.projectName)).toEqual(project);
      expect(await find("absent")).toBeUndefined();
    });

    it("are listed by name", async () => {
      const projects = [newProject("zz2"), newProject("zz1"), newProject("zz3")];
      for (const project of projects) await store.createProject(project);
      expect((await store.listProjects("zz1", 10)).map((project) => project.projectName)).toEqual(["zz2", "zz3"]);
      expect(await store.listProjects("zz0", 1)).toHaveLength(1);
    });

    it("go whole, and their names are free again", async () => {
      const project = newProject();
      await store.createProject(project);
      const version = newVersion(project.projectName, { requestId: "r" });
      await store.createVersion(version, create);

      await store.removeProject(project.projectId); // It is not being deleted: nothing happens.
      expect((await store.markDeleting(project.projectName, 10))?.isDeleting).toBe(true);
      expect((await store.markDeleting(project.projectName, 20))?.isDeleting).toBe(true);
      expect((await store.listDeleting(10)).map(({ projectId }) => projectId)).toEqual([project.projectId]);
      for (let time = 0; time < 2; time++) await store.removeProject(project.projectId);

      expect(await find(project.projectName)).toBeUndefined();
      expect(await store.findVersion(version.versionId)).toBeUndefined();
      expect(await store.loadFunctions(version.versionId)).toBeUndefined();
      expect(await store.listDeleting(10)).toEqual([]);
      expect(await store.markDeleting(project.projectName, 30)).toBeUndefined();
      const again = newProject(project.projectName);
      expect(await store.createProject(again)).toBeUndefined();
      await store.createVersion(newVersion(project.projectName, { requestId: "r" }), ({ earlier }) => {
        expect(earlier).toBeUndefined();
        return { kind: "create" };
      });
    });
  });

  describe("versions", () => {
    it("are saved with their functions and become the latest", async () => {
      const version = newVersion(newName(), { functions: [functionNamed("b"), functionNamed("a")] });
      await store.createVersion(version, ({ project }) => {
        expect(project).toBeUndefined();
        return { kind: "create" };
      });
      expect(await find(version.projectName)).toMatchObject({
        projectId: version.newProjectId,
        latestVersionId: version.versionId,
      });
      expect(await store.findVersion(version.versionId)).toEqual({
        versionId: version.versionId,
        projectId: version.newProjectId,
        projectName: version.projectName,
        code: version.code,
        createTimeMs: 5,
        number: 1,
      });
      const functions = await store.loadFunctions(version.versionId);
      expect(functions?.functions).toEqual([functionNamed("a"), functionNamed("b")]);
      expect(functions?.projectId).toBe(version.newProjectId);

      const next = newVersion(version.projectName);
      await store.createVersion(next, ({ project }) => {
        expect(project).toMatchObject({ latestVersionId: version.versionId });
        return { kind: "create" };
      });
      expect((await find(version.projectName))?.latestVersionId).toBe(next.versionId);
      const listed = await store.listVersions(version.newProjectId, undefined, 10);
      expect(listed.map(({ versionId }) => versionId)).toEqual([next.versionId, version.versionId]);
      expect(await store.listVersions(version.newProjectId, 2, 10)).toHaveLength(1);
    });

    it("are saved whole or not at all", async () => {
      const refused = newVersion(newName());
      const refuse = () => {
        throw new Error("refused");
      };
      await expect(store.createVersion(refused, refuse)).rejects.toThrow("refused");
      const twice = newVersion(newName(), { functions: [functionNamed("f"), functionNamed("f")] });
      await expect(store.createVersion(twice, create)).rejects.toBeInstanceOf(Error);
      for (const { projectName, versionId } of [refused, twice]) {
        expect(await find(projectName)).toBeUndefined();
        expect(await store.findVersion(versionId)).toBeUndefined();
        expect(await store.loadFunctions(versionId)).toBeUndefined();
      }
    });

    it("are in order, however many are saved at once", async () => {
      const first = newVersion(newName());
      await store.createVersion(first, create);
      const versions = Array.from({ length: 20 }, () => newVersion(first.projectName));
      await Promise.all(versions.map((version) => store.createVersion(version, create)));
      const listed = await store.listVersions(first.newProjectId, undefined, 100);
      expect(listed.map(({ number }) => number)).toEqual(Array.from({ length: 21 }, (_, index) => 21 - index));
      expect((await find(first.projectName))?.latestVersionId).toBe(listed[0]?.versionId);
    });

    it("remember their requests for a while", async () => {
      const first = newVersion(newName(), { requestId: "r", requestDigest: "d" });
      await store.createVersion(first, create);
      const decision = await store.createVersion(
        newVersion(first.projectName, { requestId: "r", requestDigest: "d" }),
        ({ earlier }) => {
          expect(earlier).toEqual({ versionId: first.versionId, requestDigest: "d", createTimeMs: 5 });
          return { kind: "answer-earlier", versionId: first.versionId };
        },
      );
      expect(decision).toEqual({ kind: "answer-earlier", versionId: first.versionId });
      const other = newVersion(first.projectName, { requestId: "s", createTimeMs: 9, forgetRequestsBeforeMs: 6 });
      await store.createVersion(other, create);
      await store.createVersion(newVersion(first.projectName, { requestId: "r" }), ({ earlier }) => {
        expect(earlier).toBeUndefined();
        return { kind: "create" };
      });
      expect(await store.listVersions(first.newProjectId, undefined, 10)).toHaveLength(3);
    });

    it("say which bundles they use", async () => {
      const digest = "a".repeat(64);
      const contextDigest = "c".repeat(64);
      const code = { source: { $case: "bundle", value: { digest } }, environment: {} } as const;
      await store.createVersion(newVersion(newName(), { code }), create);
      expect(await store.usedBundles([digest, "b".repeat(64), contextDigest])).toEqual(new Set([digest]));
      await store.createVersion(newVersion(newName(), { code: { ...code, contextDigest } }), create);
      expect(await store.usedBundles([digest, contextDigest])).toEqual(new Set([digest, contextDigest]));
      expect(await store.usedBundles([])).toEqual(new Set());
    });

    it("keep workers for functions of the latest only", async () => {
      const standing = functionNamed("warm", { options: { minWorkers: 2, retryDelay: undefined } });
      const first = newVersion(newName(), { functions: [functionNamed("cold"), standing] });
      await store.createVersion(first, create);
      expect(await store.listStandingFunctions()).toEqual([
        { projectId: first.newProjectId, projectName: first.projectName, versionId: first.versionId, spec: standing },
      ]);
      await store.createVersion(newVersion(first.projectName), create);
      expect(await store.listStandingFunctions()).toEqual([]);
      await store.createVersion(newVersion(first.projectName, { functions: [standing] }), create);
      expect(await store.listStandingFunctions()).toHaveLength(1);
      await store.markDeleting(first.projectName, 1);
      expect(await store.listStandingFunctions()).toEqual([]);
    });
  });

  describe("API keys", () => {
    const newKey = () => ({
      keyId: ids.next("key"),
      displayName: "a key",
      secretHash: Buffer.alloc(32, 7),
      role: ApiKeyRole.ADMIN,
      projectName: "",
      createTimeMs: 3,
      expireTimeMs: undefined,
      revokeTimeMs: undefined,
    });

    it("are made first only once", async () => {
      const key = newKey();
      const made = await Promise.all([store.createFirstApiKey(key), store.createFirstApiKey(newKey())]);
      expect(made.filter((isMade) => isMade)).toHaveLength(1);
    });

    it("keep their role, their project and their end", async () => {
      const said = { role: ApiKeyRole.INVOKE, projectName: "shop", expireTimeMs: 9 };
      const key = { ...newKey(), ...said };
      await store.createApiKey(key);
      expect(await store.findApiKey(key.keyId)).toMatchObject(said);
    });

    it("are found, listed newest first, and revoked for ever", async () => {
      const [older, newer] = [newKey(), newKey()];
      await store.createApiKey(older);
      await store.createApiKey(newer);
      const found = await store.findApiKey(older.keyId);
      expect({ ...found, secretHash: Buffer.from(found?.secretHash ?? []) }).toEqual(older);
      expect((await store.listApiKeys(undefined, 2)).map(({ keyId }) => keyId)).toEqual([newer.keyId, older.keyId]);
      expect((await store.listApiKeys(newer.keyId, 1)).map(({ keyId }) => keyId)).toEqual([older.keyId]);

      const counts: number[] = [];
      const revoke = (nowMs: number) => store.revokeApiKey(older.keyId, nowMs, (_, good) => void counts.push(good));
      expect((await revoke(10))?.revokeTimeMs).toBe(10);
      expect((await revoke(20))?.revokeTimeMs).toBe(10);
      expect(counts).toEqual([3, 2]);
      expect(await store.revokeApiKey(ids.next("key"), 10, () => {})).toBeUndefined();
      const refuse = () => {
        throw new Error("refused");
      };
      await expect(store.revokeApiKey(newer.keyId, 10, refuse)).rejects.toThrow("refused");
      expect((await store.findApiKey(newer.keyId))?.revokeTimeMs).toBeUndefined();
    });
  });
}
