import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { FunctionOptions } from "../../gen/multinode/registry/v1/function.pb.js";
import { ProjectPolicy } from "../../gen/multinode/registry/v1/registry_service.pb.js";
import { untilStatus, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const ID_TAIL = "[0-9a-hjkmnp-tv-z]{26}";

/** Version `text` of a project: `say` answers it, `slow` answers it when its signal or 10 s have passed. */
function main(text: string, more = ""): Record<string, string> {
  return {
    "main.ts": `
      import { getContext, Multinode } from "multinode";
      import { setTimeout } from "node:timers/promises";
      export const mn = new Multinode();
      export const say = mn.function(() => "${text}");
      export const slow = mn.function({ maxRetries: 1 }, async (ms: number) => {
        await setTimeout(ms);
        if (getContext().attemptNumber === 1) throw new Error("first attempt");
        return "${text}";
      });
      ${more}
    `,
  };
}

let target: Target;
let project: DeployedProject;
let digest: string;
beforeAll(async () => {
  target = openTarget();
  project = await target.deploy(main("one"));
  const { version } = await target.client.registry.getVersion(project);
  if (version?.code?.source?.$case === "bundle") digest = version.code.source.value.digest;
});
afterAll(() => target.close());

describe.concurrent("objects and ids", () => {
  test("ids are a prefix and 26 characters, and are ordered by time", async () => {
    const fn = project.fn("say");
    const ids = [await fn.start(), await fn.start(), await fn.start()];
    for (const id of ids) expect(id).toMatch(new RegExp(`^inv-${ID_TAIL}$`));
    expect(ids).toEqual(ids.toSorted());
    expect(new Set(ids).size).toBe(3);
    expect(project.versionId).toMatch(new RegExp(`^ver-${ID_TAIL}$`));
    const { executions } = await untilTerminated(fn, ids[0] ?? "");
    expect(executions[0]?.id).toMatch(new RegExp(`^exe-${ID_TAIL}$`));
  });

  test("an invocation is found by its id alone", async () => {
    const invocationId = await project.fn("say").start();
    const { invocation } = await target.client.invocations.getInvocation({ invocationId });
    expect(invocation).toMatchObject({ invocationId, projectName: project.projectName, functionName: "say" });
  });

  test("the project, the function and the version of a request are checked against the invocation", async () => {
    const id = await project.fn("say").start();
    await expect(project.fn("slow").get(id)).rejects.toMatchObject({ reason: "InvocationDoesNotExist" });
    await expect(project.fn("slow").cancel(id)).rejects.toMatchObject({ reason: "InvocationDoesNotExist" });
    const elsewhere = target.fn(target.newProjectName(), "say");
    const otherVersion = project.fn("say", `ver-${"0".repeat(26)}`);
    await expect(elsewhere.get(id)).rejects.toMatchObject({ reason: "InvocationDoesNotExist" });
    await expect(otherVersion.get(id)).rejects.toMatchObject({ reason: "InvocationDoesNotExist" });
    await expect(project.fn("say", project.versionId).get(id)).resolves.toMatchObject({ id });
    for (const fn of [project.fn("slow"), elsewhere, otherVersion]) {
      await expect(fn.awaitResult(id)).rejects.toMatchObject({ reason: "InvocationDoesNotExist" });
      await expect(fn.watch(id).next()).rejects.toMatchObject({ reason: "InvocationDoesNotExist" });
    }
  });

  test("the version of a request is checked against the project", async () => {
    const other = await target.deploy(main("other"));
    const foreign = project.fn("say", other.versionId);
    await expect(foreign.start()).rejects.toMatchObject({ reason: "VersionDoesNotExist" });
  });

  test("times are UTC milliseconds, and revisions only grow", async () => {
    const fn = project.fn("slow");
    const before = Date.now();
    const revisions: number[] = [];
    const id = await fn.start(100);
    for await (const state of fn.watch(id, { until: "terminated" })) revisions.push(state.revision);
    expect(revisions).toEqual(revisions.toSorted((a, b) => a - b));
    expect(new Set(revisions).size).toBe(revisions.length);
    const { createdAt, startedAt, finishedAt } = await fn.get(id);
    const times = [before, createdAt.getTime(), startedAt?.getTime(), finishedAt?.getTime(), Date.now()].map(Number);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
  });
});

describe.concurrent("versions", () => {
  test("latest, in any case, is the newest version at the moment of the call, and an id pins one", async () => {
    const first = await target.deploy(main("first"));
    const { projectName } = first;
    const running = target.fn(projectName, "say");
    expect(await running.callRemote()).toBe("first");
    const second = await target.deploy(main("second"), { projectName });
    expect(await running.callRemote()).toBe("second");
    for (const latest of ["latest", "LATEST", "LaTest"]) {
      expect(await target.fn(projectName, "say", latest).callRemote()).toBe("second");
    }
    expect(await target.fn(projectName, "say", first.versionId).callRemote()).toBe("first");
    expect(await target.fn(projectName, "say", second.versionId).callRemote()).toBe("second");
  });

  test("an invocation stays for life on the version that it was started on", async () => {
    const first = await target.deploy(main("first"));
    const fn = first.fn("slow");
    const id = await fn.start(1_000);
    await untilStatus(fn, id, "RUNNING");
    await target.deploy(main("second"), { projectName: first.projectName });
    expect(await fn.awaitResult(id)).toBe("first");
    const invocation = await fn.get(id);
    expect(invocation.versionId).toBe(first.versionId);
    expect(invocation.executions).toHaveLength(2);
  });

  test("a version is created whole or not at all", async () => {
    const { projectName, versionId } = await target.deploy(main("good"));
    await expect(
      target.client.registry.createVersion({
        projectName,
        projectPolicy: ProjectPolicy.MUST_EXIST,
        code: { source: { $case: "bundle", value: { digest } } },
        functions: [
          { functionName: "good" },
          { functionName: "bad", options: FunctionOptions.fromPartial({ cpu: 99 }) },
        ],
      }),
    ).rejects.toMatchObject({ reason: "ParameterValidationError" });
    const { versions } = await target.client.registry.listVersions({ projectName });
    expect(versions.map((version) => version.versionId)).toEqual([versionId]);
    await expect(target.fn(projectName, "good").start()).rejects.toMatchObject({ reason: "FunctionDoesNotExist" });
  });

  test("a version holds its code and its functions, each with its options", async () => {
    const files = main("v", 'export const big = mn.function({ cpu: 4, memory: "16 GiB" }, () => 1);');
    const { projectName, versionId } = await target.deploy(files);
    const { version } = await target.client.registry.getVersion({ projectName, versionId });
    expect(version?.code?.source?.$case).toBe("bundle");
    expect(version?.functions.map(({ functionName }) => functionName).toSorted()).toEqual(["big", "say", "slow"]);
    const big = version?.functions.find(({ functionName }) => functionName === "big");
    expect(big?.options).toMatchObject({ cpu: 4, memoryBytes: 16 * 2 ** 30 });
  });

  test("the names of a version's functions are distinct", async () => {
    const { projectName } = project;
    const refused = target.client.registry.createVersion({
      projectName,
      projectPolicy: ProjectPolicy.MUST_EXIST,
      code: { source: { $case: "bundle", value: { digest } } },
      functions: [{ functionName: "twice" }, { functionName: "twice" }],
    });
    await expect(refused).rejects.toMatchObject({ reason: "ParameterValidationError" });
  });

  test(".env is the environment of the functions, and is not shown", async () => {
    const files = {
      ...main("v", "export const secret = mn.function(() => process.env.SECRET);"),
      ".env": "SECRET=s3\n",
    };
    const { projectName, versionId, fn } = await target.deploy(files);
    expect(await fn("secret").callRemote()).toBe("s3");
    const { version } = await target.client.registry.getVersion({ projectName, versionId });
    expect(version?.code?.environment).toEqual({ SECRET: "" });
  });
});

describe.concurrent("names", () => {
  /** What becomes of a project of this name. */
  async function createProject(projectName: string): Promise<string> {
    try {
      await target.client.registry.createProject({ projectName });
    } catch (error) {
      return (error as { reason: string }).reason;
    }
    await target.client.registry.deleteProject({ projectName });
    return "made";
  }

  /** What becomes of a function of this name. */
  async function createFunction(functionName: string): Promise<string> {
    try {
      const { version } = await target.client.registry.createVersion({
        projectName: target.newProjectName(),
        projectPolicy: ProjectPolicy.MUST_BE_NEW,
        code: { source: { $case: "bundle", value: { digest } } },
        functions: [{ functionName }],
      });
      return version?.functions[0]?.functionName === functionName ? "made" : "renamed";
    } catch (error) {
      return (error as { reason: string }).reason;
    }
  }

  const unique = () => crypto.randomUUID().slice(0, 18);

  test.each([`a${unique()}`, `A-b_9${unique()}`, `${"b".repeat(45)}-${unique()}`])(
    "project %s is made",
    async (name) => {
      expect(await createProject(name)).toBe("made");
    },
  );

  test.each(["", "a".repeat(65), "9a", "-a", "_a", "a b", "a.b", "ä"])("project %j is refused", async (name) => {
    expect(await createProject(name)).toBe("ParameterValidationError");
  });

  test.each(["f", "F-1_x", "a".repeat(128)])("function %s is made", async (name) => {
    expect(await createFunction(name)).toBe("made");
  });

  test.each(["", "a".repeat(129), "9a", "a.b", "ä"])("function %j is refused", async (name) => {
    expect(await createFunction(name)).toBe("ParameterValidationError");
  });
});
