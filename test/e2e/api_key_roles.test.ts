/** What the holder of an API key may do, by its role, and what exists for the holder of a key of one project. */
import { describe, expect, it, test } from "vitest";
import { InvocationServiceDefinition } from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { ApiKeyRole } from "../../gen/multinode/registry/v1/api_key_role.pb.js";
import { MultinodeClient } from "../../sdk/typescript/src/client/client.js";
import { getDeployedFunction } from "../../sdk/typescript/src/index.js";
import { bearer, type RawMethod, type RawService, summary } from "../harness/raw_call.js";
import type { DeployedProject } from "../harness/target.js";
import { KEY_SERVICES, openScene, UNKNOWN } from "./bad_requests.js";

const MAIN = `
  import { Multinode } from "multinode";
  export const mn = new Multinode();
  export const echo = mn.function((value: unknown) => value);
`;

/**
 * Of each method the least role, and what keeps a key of another project from it: its request names the project, or an
 * invocation; or something else does, which has a test of its own; or it is for keys of all projects only. A method that is
 * missing here fails the test.
 */
const METHODS: Readonly<Record<string, readonly [role: keyof typeof ApiKeyRole, wall: Wall]>> = {
  "registry.v1.RegistryService/CreateProject": ["DEPLOY", "project"],
  "registry.v1.RegistryService/GetProject": ["READ", "project"],
  "registry.v1.RegistryService/ListProjects": ["READ", "own test"],
  "registry.v1.RegistryService/DeleteProject": ["DEPLOY", "project"],
  // Bytes under their own digest: whoever knows it may deploy them.
  "registry.v1.RegistryService/UploadBundle": ["DEPLOY", "digest"],
  "registry.v1.RegistryService/CreateVersion": ["DEPLOY", "project"],
  "registry.v1.RegistryService/GetVersion": ["READ", "project"],
  "registry.v1.RegistryService/ListVersions": ["READ", "project"],
  "registry.v1.RegistryService/GetFunction": ["READ", "project"],
  "registry.v1.ApiKeyService/CreateApiKey": ["ADMIN", "all projects only"],
  "registry.v1.ApiKeyService/ListApiKeys": ["ADMIN", "all projects only"],
  "registry.v1.ApiKeyService/RevokeApiKey": ["ADMIN", "all projects only"],
  "invocation.v1.InvocationService/StartInvocation": ["INVOKE", "project"],
  "invocation.v1.InvocationService/BatchStartInvocations": ["INVOKE", "own test"],
  "invocation.v1.InvocationService/StreamStartInvocations": ["INVOKE", "own test"],
  "invocation.v1.InvocationService/GetInvocation": ["READ", "invocation"],
  "invocation.v1.InvocationService/ListInvocations": ["READ", "project"],
  "invocation.v1.InvocationService/CancelInvocation": ["INVOKE", "invocation"],
  "invocation.v1.InvocationService/WatchInvocations": ["READ", "own test"],
  "invocation.v1.LogService/ListLogs": ["READ", "invocation"],
  "invocation.v1.LogService/FollowLogs": ["READ", "invocation"],
  "scheduler.v1.SchedulerService/ListWorkers": ["ADMIN", "all projects only"],
  "scheduler.v1.SchedulerService/DrainWorker": ["ADMIN", "all projects only"],
  "scheduler.v1.SchedulerService/BuildImage": ["DEPLOY", "digest"],
};
type Wall = "project" | "invocation" | "own test" | "digest" | "all projects only";

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

/** What comes of each method, by its name in METHODS. */
async function ofEachMethod(call: (service: RawService, method: RawMethod, name: string) => Promise<string>) {
  const outcomes: Record<string, string> = {};
  for (const service of KEY_SERVICES) {
    for (const method of Object.values(service.methods)) {
      const name = `${service.fullName.replace("multinode.", "")}/${method.name}`;
      outcomes[name] = await call(service, method, name);
    }
  }
  return outcomes;
}

describe("the role of an API key", () => {
  test.each(["READ", "INVOKE", "DEPLOY", "ADMIN"] as const)("%s opens its methods and no others", async (role) => {
    const headers = bearer(await keyOf(ApiKeyRole[role]));
    const seen = await ofEachMethod(async (service, method) => {
      const got = summary(await scene.send(service, method, {}, headers));
      return got.startsWith("PERMISSION_DENIED") ? got : "open";
    });
    const expected = Object.entries(METHODS).map(([name, [least]]) => {
      const isOpen = ApiKeyRole[role] >= ApiKeyRole[least];
      return [name, isOpen ? "open" : `PERMISSION_DENIED PermissionDenied role=${least}`];
    });
    expect(seen).toEqual(Object.fromEntries(expected));
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
  it("opens no method for another", async () => {
    const { projectName } = other;
    const invocationId = await other.fn("echo").start("secret");
    const headers = bearer(await keyOf(ApiKeyRole.DEPLOY, ours.projectName));
    const walls: Partial<Record<Wall, readonly [request: object, outcome: string]>> = {
      project: [{ projectName }, `NOT_FOUND ProjectDoesNotExist projectName=${projectName}`],
      invocation: [{ invocationId }, `NOT_FOUND InvocationDoesNotExist invocationId=${invocationId}`],
      "all projects only": [{}, "PERMISSION_DENIED PermissionDenied role=ADMIN"],
    };
    const wallOf = (name: string) => walls[METHODS[name]?.[1] ?? "own test"];
    const seen = await ofEachMethod(async (service, method, name) => {
      const wall = wallOf(name);
      return wall === undefined ? "" : summary(await scene.send(service, method, wall[0], headers));
    });
    expect(seen).toEqual(Object.fromEntries(Object.keys(METHODS).map((name) => [name, wallOf(name)?.[1] ?? ""])));
  });

  it("does all that its role may in that project, and sees no other", async () => {
    const id = await other.fn("echo").start("secret");
    const apiKey = await keyOf(ApiKeyRole.INVOKE, ours.projectName);
    await using client = new MultinodeClient({ apiUrl: scene.target.apiUrl, apiKey });
    const fn = (projectName: string) => getDeployedFunction({ projectName, functionName: "echo", client });
    expect(await fn(ours.projectName).callRemote("ours")).toBe("ours");
    const { projects } = await client.registry.listProjects({});
    expect(projects.map(({ projectName }) => projectName)).toEqual([ours.projectName]);
    const foreign = fn(other.projectName);
    expect(await reasonOf(foreign.start(1))).toBe("ProjectDoesNotExist");
    expect(await reasonOf(foreign.awaitResult(id))).toBe("InvocationDoesNotExist");
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

  it("has request ids of its own", async () => {
    const requestId = `nightly ${ours.projectName}`;
    const requests = [{ projectName: ours.projectName, functionName: "echo" }];
    const apiKey = await keyOf(ApiKeyRole.INVOKE, ours.projectName);
    await using client = new MultinodeClient({ apiUrl: scene.target.apiUrl, apiKey });
    const start = (by: MultinodeClient, more: object = {}) =>
      by.invocations.batchStartInvocations({ requests, requestId, ...more });
    const first = await start(client);
    expect(await start(client)).toEqual(first);
    expect(await reasonOf(start(client, { requests: [...requests, ...requests] }))).toBe("IdempotencyKeyReused");
    expect((await start(scene.target.client)).outcomes).not.toEqual(first.outcomes);
  });

  it("is told of a name that is none, however long, and nobody else hears of it", async () => {
    const [service, method] = [InvocationServiceDefinition, InvocationServiceDefinition.methods.getInvocation];
    const headers = bearer(await keyOf(ApiKeyRole.READ, ours.projectName));
    const request = { invocationId: `inv-${UNKNOWN}`, projectName: "b".repeat(100_000) };
    for (let time = 0; time < 3; time++) {
      expect(summary(await scene.send(service, method, request, headers))).toMatch(/^INVALID_ARGUMENT .*project_name/);
      expect(await ours.fn("echo").callRemote("still there")).toBe("still there");
    }
  });
});
