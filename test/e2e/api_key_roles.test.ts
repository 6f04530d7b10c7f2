/** What the holder of an API key may do, by its role, and what exists for the holder of a key of one project. */
import { describe, expect, it, test } from "vitest";
import { ApiKeyRole } from "../../gen/multinode/registry/v1/api_key_role.pb.js";
import { MultinodeClient } from "../../sdk/typescript/src/client.js";
import { getDeployedFunction } from "../../sdk/typescript/src/index.js";
import { bearer, summary } from "../harness/raw_call.js";
import type { DeployedProject } from "../harness/target.js";
import { KEY_SERVICES, openScene } from "./bad_requests.js";

const MAIN = `
  import { Multinode } from "multinode";
  export const mn = new Multinode();
  export const echo = mn.function((value: unknown) => value);
`;

/** The least role for each method. A method that is missing here fails the test. */
const LEAST_ROLE: Readonly<Record<string, keyof typeof ApiKeyRole>> = {
  "registry.v1.RegistryService/CreateProject": "DEPLOY",
  "registry.v1.RegistryService/GetProject": "READ",
  "registry.v1.RegistryService/ListProjects": "READ",
  "registry.v1.RegistryService/DeleteProject": "DEPLOY",
  "registry.v1.RegistryService/UploadBundle": "DEPLOY",
  "registry.v1.RegistryService/CreateVersion": "DEPLOY",
  "registry.v1.RegistryService/GetVersion": "READ",
  "registry.v1.RegistryService/ListVersions": "READ",
  "registry.v1.RegistryService/GetFunction": "READ",
  "registry.v1.ApiKeyService/CreateApiKey": "ADMIN",
  "registry.v1.ApiKeyService/ListApiKeys": "ADMIN",
  "registry.v1.ApiKeyService/RevokeApiKey": "ADMIN",
  "invocation.v1.InvocationService/StartInvocation": "INVOKE",
  "invocation.v1.InvocationService/BatchStartInvocations": "INVOKE",
  "invocation.v1.InvocationService/StreamStartInvocations": "INVOKE",
  "invocation.v1.InvocationService/GetInvocation": "READ",
  "invocation.v1.InvocationService/ListInvocations": "READ",
  "invocation.v1.InvocationService/CancelInvocation": "INVOKE",
  "invocation.v1.InvocationService/WatchInvocations": "READ",
  "invocation.v1.LogService/ListLogs": "READ",
  "invocation.v1.LogService/FollowLogs": "READ",
  "scheduler.v1.SchedulerService/ListWorkers": "ADMIN",
  "scheduler.v1.SchedulerService/DrainWorker": "ADMIN",
  "scheduler.v1.SchedulerService/BuildImage": "DEPLOY",
};

let ours: DeployedProject;
let other: DeployedProject;
const scene = openScene(async ({ target }) => {
  [ours, other] = await Promise.all([target.deploy({ "main.ts": MAIN }), target.deploy({ "main.ts": MAIN })]);
});

async function keyOf(role: ApiKeyRole, projectName = ""): Promise<string> {
  const { secret } = await scene.target.client.apiKeys.createApiKey({ displayName: "a role", role, projectName });
  return secret;
}

async function reasonOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => "OK",
    (error: { reason?: string }) => error.reason ?? "no refusal",
  );
}

async function readAll(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}

describe("the role of an API key", () => {
  test.each(["READ", "INVOKE", "DEPLOY", "ADMIN"] as const)("%s opens its methods and no others", async (role) => {
    const headers = bearer(await keyOf(ApiKeyRole[role]));
    const seen: Record<string, string> = {};
    const expected: Record<string, string> = {};
    for (const service of KEY_SERVICES) {
      for (const method of Object.values(service.methods)) {
        const name = `${service.fullName.replace("multinode.", "")}/${method.name}`;
        const least = LEAST_ROLE[name] ?? "UNSPECIFIED";
        const got = summary(await scene.send(service, method, {}, headers));
        seen[name] = got.startsWith("PERMISSION_DENIED") ? got : "open";
        const isOpen = ApiKeyRole[role] >= ApiKeyRole[least];
        expected[name] = isOpen ? "open" : `PERMISSION_DENIED PermissionDenied role=${least}`;
      }
    }
    expect(seen).toEqual(expected);
    expect(Object.keys(seen).toSorted()).toEqual(Object.keys(LEAST_ROLE).toSorted());
  });

  it("is ADMIN where none is said, and is listed", async () => {
    const { client } = scene.target;
    const { apiKey } = await client.apiKeys.createApiKey({ displayName: "no role" });
    expect(apiKey).toMatchObject({ role: ApiKeyRole.ADMIN, projectName: "", expireTimeMs: undefined });
    const { apiKeys } = await client.apiKeys.listApiKeys({ pageSize: 1_000 });
    expect(apiKeys).toContainEqual(apiKey);
  });

  it("READ watches what others start, and starts nothing", async () => {
    const id = await ours.fn("echo").start("seen");
    await using client = new MultinodeClient({ apiUrl: scene.target.apiUrl, apiKey: await keyOf(ApiKeyRole.READ) });
    const fn = getDeployedFunction({ projectName: ours.projectName, functionName: "echo", client });
    expect(await fn.awaitResult(id)).toBe("seen");
    expect(await reasonOf(fn.start(1))).toBe("PermissionDenied");
    expect(await reasonOf(fn.cancel(id))).toBe("PermissionDenied");
  });
});

describe("a key of one project", () => {
  it("does all that its role may in that project, and sees no other", async () => {
    const { target } = scene;
    const id = await other.fn("echo").start("secret");
    const apiKey = await keyOf(ApiKeyRole.DEPLOY, ours.projectName);
    await using client = new MultinodeClient({ apiUrl: target.apiUrl, apiKey });
    const fn = (projectName: string) => getDeployedFunction({ projectName, functionName: "echo", client });
    expect(await fn(ours.projectName).callRemote("ours")).toBe("ours");
    expect((await client.registry.listProjects({})).projects.map(({ projectName }) => projectName)).toEqual([
      ours.projectName,
    ]);

    const foreign = fn(other.projectName);
    const { projectName } = other;
    const check = { projectName: "", functionName: "" };
    const byName = {
      start: () => foreign.start(1),
      list: () => foreign.list(),
      get: () => client.registry.getProject({ projectName }),
      create: () => client.registry.createProject({ projectName: target.newProjectName() }),
      version: () => client.registry.getVersion({ projectName, versionId: "latest" }),
      versions: () => client.registry.listVersions({ projectName }),
      function: () => client.registry.getFunction({ projectName, functionName: "echo" }),
      upgrade: () => client.registry.createVersion({ projectName }),
      delete: () => client.registry.deleteProject({ projectName }),
      unary: () => client.invocations.startInvocation({ projectName, functionName: "echo" }),
    };
    for (const [name, call] of Object.entries(byName)) {
      expect(`${name} ${await reasonOf(call())}`).toBe(`${name} ProjectDoesNotExist`);
    }
    const byId = {
      get: () => client.get(id, check),
      cancel: () => client.cancel(id, check),
      await: () => client.awaitFinished(id),
      watch: () => readAll(client.watch(id, "finished")),
      logs: () => client.logs.listLogs({ invocationId: id }),
      follow: () => readAll(client.logs.followLogs({ invocationId: id })),
    };
    for (const [name, call] of Object.entries(byId)) {
      expect(`${name} ${await reasonOf(call())}`).toBe(`${name} InvocationDoesNotExist`);
    }
    expect(await other.fn("echo").awaitResult(id)).toBe("secret");
  });

  it("tells of a batch start by start", async () => {
    const apiKey = await keyOf(ApiKeyRole.INVOKE, ours.projectName);
    await using client = new MultinodeClient({ apiUrl: scene.target.apiUrl, apiKey });
    const functionName = "echo";
    const requests = [ours, other].map(({ projectName }) => ({ projectName, functionName }));
    const { outcomes } = await client.invocations.batchStartInvocations({ requests });
    expect(outcomes.map(({ outcome }) => outcome?.$case)).toEqual(["invocationId", "error"]);
    expect(outcomes[1]?.outcome).toMatchObject({ value: { code: 5 } });
  });
});
