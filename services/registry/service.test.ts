import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FunctionSpec } from "../../gen/multinode/registry/v1/function.pb.js";
import { type CreateVersionRequest, ProjectPolicy } from "../../gen/multinode/registry/v1/registry_service.pb.js";
import type { Reason } from "../../sdk/typescript/src/protocol/reasons.js";
import type { EventBody } from "../platform/bus/bus.js";
import { createRegistryStore } from "./sql/sql_store.js";
import { archiveOf, bundleCode, functionNamed, openTestRegistry, type TestRegistry } from "./test_registry.js";

const ABSENT_VERSION = `ver-${"0".repeat(26)}`;

let test: TestRegistry;
let names = 0;
beforeAll(async () => {
  test = await openTestRegistry();
});
afterAll(() => test.close());

function newName(): string {
  names += 1;
  return `project-${names}`;
}

function deploy(projectName: string, functions: FunctionSpec[] = [functionNamed("f")], more = {}) {
  return test.registry.createVersion({
    projectName,
    code: bundleCode({ TOKEN: "hush", EMPTY: "" }),
    functions,
    projectPolicy: ProjectPolicy.CREATE_IF_MISSING,
    ...more,
  });
}

async function refusal(call: Promise<unknown>): Promise<Reason> {
  return await call.then(
    () => Promise.reject(new Error("the call was not refused")),
    (error: { reason: Reason }) => error.reason,
  );
}

describe("projects", () => {
  it("are created, found and listed", async () => {
    const projectName = newName();
    const { project } = await test.registry.createProject({ projectName });
    expect(project).toEqual({ projectName, latestVersionId: "", createTimeMs: test.clock.now(), deleting: false });
    expect((await test.registry.getProject({ projectName })).project).toEqual(project);
    expect(await refusal(test.registry.createProject({ projectName }))).toBe("ProjectAlreadyExists");
    expect(await refusal(test.registry.getProject({ projectName: "absent" }))).toBe("ProjectDoesNotExist");

    const listed: string[] = [];
    let offset = "";
    do {
      const page = await test.registry.listProjects({ pageSize: 1, offset });
      expect(page.projects).toHaveLength(1);
      listed.push(...page.projects.map((item) => item.projectName));
      offset = page.nextOffset;
    } while (offset !== "");
    expect(listed).toContain(projectName);
    expect(listed).toEqual(listed.toSorted());
  });

  it.each(["", "1a", "a b", "../x", "a".repeat(65), "ä", "a\0", "a\n"])("cannot be named %j", async (projectName) => {
    const calls = [
      test.registry.createProject({ projectName }),
      test.registry.getProject({ projectName }),
      test.registry.deleteProject({ projectName }),
      test.registry.getVersion({ projectName }),
      test.registry.listVersions({ projectName }),
      test.registry.getFunction({ projectName, functionName: "f" }),
      deploy(projectName),
    ];
    for (const call of calls) {
      await expect(call).rejects.toMatchObject({
        reason: "ParameterValidationError",
        message: expect.stringMatching(/^project_name: ".*" is not 1 to 64 letters/),
      });
    }
  });

  it("refuse everything new while they are being deleted", async () => {
    const projectName = newName();
    const { version } = await deploy(projectName);
    for (let time = 0; time < 2; time++) {
      const { project } = await test.registry.deleteProject({ projectName });
      expect(project).toMatchObject({ projectName, deleting: true, latestVersionId: version?.versionId });
    }
    expect((await test.registry.getProject({ projectName })).project?.deleting).toBe(true);
    for (const projectPolicy of [1, 2, 3] as const) {
      expect(await refusal(deploy(projectName, undefined, { projectPolicy }))).toBe("ProjectIsBeingDeleted");
    }
    expect(await refusal(test.registry.createProject({ projectName }))).toBe("ProjectIsBeingDeleted");
    expect((await test.catalog.resolveProject({ projectName })).projectId).toMatch(/^prj-/);
    expect(await refusal(test.catalog.resolveProject({ projectName: "absent" }))).toBe("ProjectDoesNotExist");
    expect(await refusal(test.catalog.resolveProject({ projectName: "a b" }))).toBe("ParameterValidationError");
    expect(await refusal(test.registry.deleteProject({ projectName: "absent" }))).toBe("ProjectDoesNotExist");
  });

  it("refuse bad pages", async () => {
    const projectName = newName();
    for (let count = 0; count < 2; count++) await deploy(projectName);
    const { nextOffset } = await test.registry.listVersions({ projectName, pageSize: 1 });
    for (const offset of ["x", nextOffset, `${nextOffset}x`, "'; DROP TABLE projects"]) {
      expect(await refusal(test.registry.listProjects({ offset }))).toBe("OffsetIsInvalid");
      expect(await refusal(test.apiKeys.listApiKeys({ offset }))).toBe("OffsetIsInvalid");
    }
    expect(await refusal(test.registry.listProjects({ pageSize: -1 }))).toBe("ParameterValidationError");
    expect(await refusal(test.registry.listVersions({ projectName, pageSize: -1 }))).toBe("ParameterValidationError");
    expect(await refusal(test.apiKeys.listApiKeys({ pageSize: -1 }))).toBe("ParameterValidationError");
  });
});

describe("versions", () => {
  it("are created whole, with defaults, without the values of the environment", async () => {
    const projectName = newName();
    const events: EventBody[] = [];
    const unsubscribe = test.bus.subscribe("project", (event) => events.push(event));
    const functions = [functionNamed("b"), functionNamed("a", { inputSchema: '{"type":"array"}' })];
    const { version } = await deploy(projectName, functions);
    unsubscribe();
    expect(events).toEqual([{ $case: "project", value: { projectName } }]);
    expect(version?.functions.map((spec) => spec.functionName)).toEqual(["a", "b"]);
    expect(version?.functions[0]).toMatchObject({ inputSchema: '{"type":"array"}', options: { cpu: 0.1 } });
    expect(version?.code).toEqual(bundleCode({ TOKEN: "", EMPTY: "" }));

    for (const versionId of ["", "latest", "LaTeSt", version?.versionId ?? ""]) {
      expect(await test.registry.getVersion({ projectName, versionId })).toEqual({ version });
    }
    const { code } = await test.catalog.getCode({ versionId: version?.versionId ?? "" });
    expect(code).toEqual(bundleCode({ TOKEN: "hush", EMPTY: "" }));
    const stored = await createRegistryStore(test.db).findVersion(version?.versionId ?? "");
    expect(stored?.code.environment["TOKEN"]).toMatch(/^sealed:/);
    expect(await refusal(test.catalog.getCode({ versionId: ABSENT_VERSION }))).toBe("VersionDoesNotExist");
    expect(await refusal(test.catalog.getCode({ versionId: "x" }))).toBe("ParameterValidationError");
  });

  it("are listed newest first, without their functions", async () => {
    const projectName = newName();
    const created: (string | undefined)[] = [];
    for (let count = 0; count < 5; count++) created.unshift((await deploy(projectName)).version?.versionId);
    const first = await test.registry.listVersions({ projectName, pageSize: 3 });
    await deploy(projectName);
    const second = await test.registry.listVersions({ projectName, pageSize: 3, offset: first.nextOffset });
    const listed = [...first.versions, ...second.versions];
    expect(listed.map((version) => version.versionId)).toEqual(created);
    expect(second.nextOffset).toBe("");
    expect(listed[0]).toMatchObject({ functions: [], code: bundleCode({ TOKEN: "", EMPTY: "" }) });
    expect(await refusal(test.registry.listVersions({ projectName: "absent" }))).toBe("ProjectDoesNotExist");
  });

  it("end a page of large ones early", async () => {
    const projectName = newName();
    const large = { ["X".repeat(99_000)]: "" };
    for (let count = 0; count < 50; count++) await deploy(projectName, undefined, { code: bundleCode(large) });
    const first = await test.registry.listVersions({ projectName });
    expect(first.versions.length).toBeLessThan(50);
    const second = await test.registry.listVersions({ projectName, offset: first.nextOffset });
    expect(first.versions.length + second.versions.length).toBe(50);
  });

  it("follow the policy about the project", async () => {
    const projectName = newName();
    const policy = (projectPolicy: number) => deploy(projectName, undefined, { projectPolicy });
    expect(await refusal(policy(0))).toBe("ProjectDoesNotExist");
    expect(await refusal(policy(1))).toBe("ProjectDoesNotExist");
    await policy(3);
    expect(await refusal(policy(3))).toBe("ProjectAlreadyExists");
    for (const allowed of [0, 1, 2]) await policy(allowed);
    expect(await refusal(policy(4))).toBe("ParameterValidationError");
    expect((await test.registry.listVersions({ projectName })).versions).toHaveLength(4);
  });

  it("are created once for a request id", async () => {
    const projectName = newName();
    const request = { requestId: "r-1", projectPolicy: ProjectPolicy.MUST_BE_NEW };
    const functions = [functionNamed("a"), functionNamed("b")];
    const first = await deploy(projectName, functions, request);
    expect(await deploy(projectName, functions.toReversed(), request)).toEqual(first);
    expect(await refusal(deploy(projectName, [functionNamed("a")], request))).toBe("VersionAlreadyExists");
    expect((await test.registry.listVersions({ projectName })).versions).toHaveLength(1);
    const at = test.clock.now();
    test.clock.advance(24 * 3_600_000);
    const { version } = await deploy(projectName, functions, { requestId: "r-1" });
    expect(version?.versionId).not.toBe(first.version?.versionId);
    test.clock.advance(at - test.clock.now());
  });

  it("are created once for a request id, however often it is sent at once", async () => {
    const projectName = newName();
    const all = await Promise.all(Array.from({ length: 10 }, () => deploy(projectName, undefined, { requestId: "r" })));
    expect(new Set(all.map(({ version }) => version?.versionId)).size).toBe(1);
  });

  it("are refused for all of their bad fields at once", async () => {
    const message = {
      projectName: "1",
      code: { source: { $case: "image", value: { image: "../x" } }, environment: { "A B": "hush", N: "a\0b" } },
      functions: [
        functionNamed("f", { options: { cpu: 17, maxRetries: 51, workerConcurrency: 2, retryDelay: undefined } }),
        functionNamed("f", { inputSchema: "{" }),
        functionNamed("a b", { outputSchema: '{"type":"text"}' }),
      ],
      requestId: "r".repeat(129),
    } satisfies Partial<CreateVersionRequest>;
    await expect(test.registry.createVersion(message)).rejects.toMatchObject({ reason: "ParameterValidationError" });
    const error = await test.registry.createVersion(message).catch((refused: Error) => refused);
    const { message: text } = error as Error;
    expect(text).not.toContain("hush");
    for (const violation of [
      'project_name: "1" is not 1 to 64 letters',
      'code.image.image: "../x" is refused, since code comes as a bundle only: for an image of its own deploy a folder with a Dockerfile',
      'code.environment["A B"]: the name is not made of letters, digits and "_"',
      'code.environment["N"]: the value holds a NUL character',
      "functions[0].options.cpu: 17 is above 16",
      "functions[0].options.max_retries: 51 is above 50",
      "functions[0].options.worker_concurrency: 2 is above 1, which needs max_invocations_per_worker other than 1",
      'functions[1].function_name: "f" is the name of functions[0] too',
      'functions[1].input_schema: "{" is not JSON',
      'functions[2].function_name: "a b" is not 1 to 128 letters',
      'functions[2].output_schema: "{\\"type\\":\\"text\\"}" is not a JSON Schema: schema is invalid',
      "has more than 128 characters",
    ]) {
      expect(text).toContain(violation);
    }
  });

  it.each<[string, Partial<CreateVersionRequest>, string]>([
    ["no code", { code: undefined }, "code: is required"],
    ["no source", { code: { source: undefined, environment: {} } }, "code.source: is required"],
    ["no functions", { functions: [] }, "functions: a list of 0 has fewer than 1 items"],
    [
      "too many functions",
      { functions: Array.from({ length: 501 }, (_, index) => functionNamed(`f${index}`)) },
      "functions: a list of 501 has more than 500 items",
    ],
    [
      "a bad digest",
      { code: { source: { $case: "bundle", value: { digest: "A".repeat(64) } }, environment: {} } },
      "code.bundle.digest:",
    ],
    [
      "too many variables",
      { code: bundleCode(Object.fromEntries(Array.from({ length: 501 }, (_, index) => [`A${index}`, ""]))) },
      "code.environment: 501 variables are more than 500",
    ],
    [
      "too large an environment",
      { code: bundleCode({ A: "x".repeat(100_000) }) },
      "code.environment: names and values have 100001 bytes, which is above 100000",
    ],
    [
      "too large a schema",
      { functions: [functionNamed("f", { inputSchema: `{"title":"${"x".repeat(100_000)}"}` })] },
      "has more than 100000 bytes",
    ],
  ])("are refused with %s", async (_, more, message) => {
    await expect(deploy(newName(), undefined, more)).rejects.toMatchObject({
      reason: "ParameterValidationError",
      message: expect.stringContaining(message),
    });
  });

  it("are refused with an image for their code, and told what to deploy instead", async () => {
    const code = { source: { $case: "image", value: { image: "app:1" } }, environment: {} } as const;
    await expect(deploy(newName(), undefined, { code })).rejects.toMatchObject({
      reason: "ParameterValidationError",
      message: expect.stringMatching(/^code\.image\.image: "app:1" is refused.* a Dockerfile$/),
    });
  });

  it("are refused without their bundle", async () => {
    const code = { source: { $case: "bundle", value: { digest: "0".repeat(64) } }, environment: {} };
    expect(await refusal(deploy(newName(), undefined, { code }))).toBe("BundleDoesNotExist");
  });
});

describe("the context of an image", () => {
  const upload = async (text: string) => {
    const { digest, bytes } = archiveOf(text);
    await test.registry.uploadBundle(
      (async function* () {
        yield { digest, chunk: Buffer.from(bytes) };
      })(),
    );
    return digest;
  };

  it("is told with the code of the version and with each of its functions, and is in use", async () => {
    const digest = await upload("code");
    const contextDigest = await upload("context");
    const code = { source: { $case: "bundle", value: { digest } }, environment: {}, contextDigest } as const;
    const forged = functionNamed("f", { contextDigest: "f".repeat(64) });
    const projectName = newName();
    const { version } = await deploy(projectName, [forged], { code });
    expect(version?.code).toEqual(code);
    expect(version?.functions[0]?.contextDigest).toBe(contextDigest);
    expect((await test.registry.getFunction({ projectName, functionName: "f" })).function?.contextDigest).toBe(
      contextDigest,
    );
    const asked = [digest, contextDigest, "f".repeat(64)];
    expect(new Set((await test.catalog.findUsedBundles({ digests: asked })).digests)).toEqual(
      new Set(asked.slice(0, 2)),
    );
    expect(
      (await deploy(newName(), [forged], { code: { ...code, contextDigest: undefined } })).version?.functions[0],
    ).not.toHaveProperty("contextDigest", expect.any(String));
  });

  it("must be there, and well named", async () => {
    const source = { $case: "bundle", value: { digest: await upload("code") } } as const;
    const refused = (code: object) => deploy(newName(), undefined, { code: { environment: {}, ...code } });
    const contextDigest = "0".repeat(64);
    await expect(refused({ source, contextDigest })).rejects.toMatchObject({
      reason: "BundleDoesNotExist",
      details: { metadata: { digest: contextDigest } },
    });
    for (const bad of ["", "x", "A".repeat(64)]) {
      await expect(refused({ source, contextDigest: bad })).rejects.toThrow("code.context_digest:");
    }
    expect(await refusal(test.catalog.findUsedBundles({ digests: ["x"] }))).toBe("ParameterValidationError");
  });
});

describe("functions", () => {
  it("are found in a version", async () => {
    const projectName = newName();
    await test.registry.createProject({ projectName });
    const find = (functionName: string, versionId = "") =>
      test.registry.getFunction({ projectName, functionName, versionId });
    expect(await refusal(find("f"))).toBe("VersionDoesNotExist");
    expect(await refusal(test.registry.getVersion({ projectName }))).toBe("VersionDoesNotExist");
    const { version } = await deploy(projectName, [functionNamed("f"), functionNamed("g")]);
    expect(await find("g", "Latest")).toEqual({ versionId: version?.versionId, function: version?.functions[1] });
    expect(await refusal(find("h"))).toBe("FunctionDoesNotExist");
    expect(await refusal(find("f", ABSENT_VERSION))).toBe("VersionDoesNotExist");
    expect(await refusal(find("f", "v1"))).toBe("ParameterValidationError");
    expect(await refusal(find("f g"))).toBe("ParameterValidationError");
    expect(await refusal(test.registry.getFunction({ projectName: "absent", functionName: "f" }))).toBe(
      "ProjectDoesNotExist",
    );
    const other = newName();
    await deploy(other);
    expect(await refusal(test.registry.getVersion({ projectName: other, versionId: version?.versionId ?? "" }))).toBe(
      "VersionDoesNotExist",
    );
  });

  it("are resolved each for itself, never stale", async () => {
    const [projectName, deleted] = [newName(), newName()];
    const first = (await deploy(projectName)).version;
    await deploy(deleted);
    const resolve = async (...refs: [string, string, string][]) => {
      const functions = refs.map(([project, versionId, functionName]) => ({
        projectName: project,
        versionId,
        functionName,
      }));
      const { outcomes } = await test.catalog.resolveFunctions({ functions });
      return outcomes.map(({ outcome }) => (outcome?.$case === "function" ? outcome.value.versionId : outcome?.value));
    };
    expect(await resolve([deleted, "", "f"], [projectName, "latest", "f"])).not.toContain("ProjectIsBeingDeleted");
    await test.registry.deleteProject({ projectName: deleted });
    const second = (await deploy(projectName, [functionNamed("g")])).version;
    const outcomes = await resolve(
      [projectName, "", "g"],
      [projectName, first?.versionId ?? "", "f"],
      [projectName, "LATEST", "f"],
      [projectName, ABSENT_VERSION, "f"],
      [projectName, "a\0", "f"],
      [projectName, "", "__proto__"],
      ["absent", "", "f"],
      ["a\0", "", "f"],
      [deleted, "", "f"],
      [projectName, "", "g"],
    );
    expect(outcomes).toEqual([
      second?.versionId,
      first?.versionId,
      "FunctionDoesNotExist",
      "VersionDoesNotExist",
      "VersionDoesNotExist",
      "FunctionDoesNotExist",
      "ProjectDoesNotExist",
      "ProjectDoesNotExist",
      "ProjectIsBeingDeleted",
      second?.versionId,
    ]);
    expect(await refusal(test.catalog.resolveFunctions({ functions: [] }))).toBe("ParameterValidationError");
    const many = Array.from({ length: 1_001 }, () => ({ projectName, functionName: "f" }));
    expect(await refusal(test.catalog.resolveFunctions({ functions: many }))).toBe("ParameterValidationError");
  });

  it("with warm workers are listed", async () => {
    const projectName = newName();
    const options = { minWorkers: 3, retryDelay: undefined };
    const { version } = await deploy(projectName, [functionNamed("cold"), functionNamed("warm", { options })]);
    const { functions } = await test.catalog.listStandingFunctions({});
    expect(functions.filter((item) => item.projectName === projectName)).toEqual([
      {
        projectId: expect.stringMatching(/^prj-/),
        projectName,
        versionId: version?.versionId,
        function: version?.functions[1],
      },
    ]);
  });
});
