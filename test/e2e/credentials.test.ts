import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MultinodeClient } from "../../sdk/typescript/src/client/client.js";
import { resolveCredentials, writeLoginFile } from "../../sdk/typescript/src/client/credentials.js";
import { getDeployedFunction } from "../../sdk/typescript/src/index.js";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { errorOf, eventually, untilState, untilStatus } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { getContext, getDeployedFunction, Multinode } from "multinode";
  import { passGate } from "./gate.js";
  export const mn = new Multinode();
  export const echo = mn.function((value: unknown) => value);
  const reasonOf = (promise: Promise<unknown>) => promise.then(() => "done", (error) => error.reason ?? String(error));
  export const inside = mn.function(async (stranger: string, otherProject: string) => {
    const other = getDeployedFunction({ projectName: otherProject, functionName: "echo", ...credentials() });
    return {
      get: await reasonOf(echo.get(stranger)),
      cancel: await reasonOf(echo.cancel(stranger)),
      await: await reasonOf(echo.awaitResult(stranger)),
      own: await reasonOf(echo.get(getContext().invocationId)),
      list: (await echo.list()).invocationIds,
      otherProject: await reasonOf(other.start(1)),
    };
  });
  function credentials() {
    const execution = (globalThis as any)[Symbol.for("multinode.runningExecution")].getStore();
    return { apiUrl: execution.apiUrl, apiKey: execution.executionToken };
  }
  export const leak = mn.function(async function* (gate: string) {
    yield credentials();
    await passGate(gate);
  });
`;

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

describe.concurrent("API keys", () => {
  test.each(["wrong", "mnk_0123456789"])("a call with the key %j is refused", async (apiKey) => {
    const client = new MultinodeClient({ apiUrl: target.apiUrl, apiKey });
    await expect(client.registry.listProjects({})).rejects.toMatchObject({ reason: "ApiKeyIsInvalid", code: 16 });
    await expect(client.invocations.getInvocation({ invocationId: "x" })).rejects.toMatchObject({
      reason: "ApiKeyIsInvalid",
    });
    await client.close();
  });

  test("a new key works, is listed without its secret, and is refused once it is revoked", async () => {
    const { apiKey, secret } = await target.client.apiKeys.createApiKey({ displayName: "e2e" });
    const keyId = apiKey?.keyId ?? "";
    await using client = new MultinodeClient({ apiUrl: target.apiUrl, apiKey: secret });
    const fn = getDeployedFunction({ projectName: project.projectName, functionName: "echo", client });
    expect(await fn.callRemote("with the new key")).toBe("with the new key");
    const { apiKeys } = await target.client.apiKeys.listApiKeys({ pageSize: 1_000 });
    expect(JSON.stringify(apiKeys)).not.toContain(secret);
    expect(apiKeys.find((key) => key.keyId === keyId)).toMatchObject({ displayName: "e2e", revokeTimeMs: undefined });
    await target.client.apiKeys.revokeApiKey({ keyId });
    const refusal = await eventually(
      () =>
        client.registry.listProjects({}).then(
          () => undefined,
          (error: { reason: string }) => error.reason,
        ),
      (reason) => reason !== undefined,
    );
    expect(refusal).toBe("ApiKeyIsInvalid");
    const start = await eventually(
      () =>
        fn.start(1).then(
          () => undefined,
          (error: { reason: string }) => error.reason,
        ),
      (reason) => reason !== undefined,
    );
    expect(start).toBe("ApiKeyIsInvalid");
  });

  test("starts that never pause, and so share one open stream, are refused as well once their key is revoked", async () => {
    const { apiKey, secret } = await target.client.apiKeys.createApiKey({ displayName: "e2e stream" });
    await using client = new MultinodeClient({ apiUrl: target.apiUrl, apiKey: secret });
    const fn = getDeployedFunction({ projectName: project.projectName, functionName: "echo", client });
    let started = 0;
    let isRevoked = false;
    const startUntilRefused = async () => {
      for (;;) {
        await fn.start(started);
        started += 1;
        if (isRevoked || started < 10) continue;
        isRevoked = true;
        await target.client.apiKeys.revokeApiKey({ keyId: apiKey?.keyId ?? "" });
      }
    };
    await expect(startUntilRefused()).rejects.toMatchObject({ reason: "ApiKeyIsInvalid" });
    expect(isRevoked).toBe(true);
  });
});

describe.concurrent("where credentials come from", () => {
  test("options, then the environment, then the login file; a missing one says which", async () => {
    const folder = mkdtempSync(join(tmpdir(), "multinode-home-"));
    const home = { MULTINODE_HOME: folder };
    expect(() => resolveCredentials({}, home)).toThrow(/API URL and the API key.*are missing/);
    expect(() => resolveCredentials({ apiUrl: "http://a" }, home)).toThrow(/^the API key .*is missing/);
    await writeLoginFile({ apiUrl: "http://file", apiKey: "file" }, home);
    expect(resolveCredentials({}, home)).toMatchObject({ apiUrl: "http://file", apiKey: "file" });
    const environment = { ...home, MULTINODE_API_KEY: "environment" };
    expect(resolveCredentials({}, environment)).toMatchObject({ apiUrl: "http://file", apiKey: "environment" });
    expect(resolveCredentials({ apiKey: "options" }, environment)).toMatchObject({ apiKey: "options" });
    rmSync(folder, { recursive: true });
  });

  test("getDeployedFunction calls nothing by itself", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    let connections = 0;
    server.on("connection", () => (connections += 1));
    getDeployedFunction({ projectName: "p", functionName: "f", apiUrl: `http://127.0.0.1:${port}`, apiKey: "k" });
    // One that is made after it comes after it.
    const own = connect(port, "127.0.0.1");
    await once(server, "connection");
    own.destroy();
    server.close();
    expect(connections).toBe(1);
    expect(() => getDeployedFunction({ projectName: "not a name", functionName: "f" })).toThrow(/projectName/);
  });
});

describe.concurrent("the token of an execution", () => {
  test("starts functions of its own version only", async () => {
    const sources = { "main.ts": MAIN, "gate.ts": GATE_SOURCE };
    const first = await target.deploy(sources);
    const leak = first.fn<(gate: string) => { apiUrl: string; apiKey: string }>("leak");
    const gate = gates.place();
    const id = await leak.start(gate);
    const { result } = await untilState(leak, id, (state) => state.result !== undefined);
    await using client = new MultinodeClient(result ?? {});
    const { projectName } = first;
    const newer = await target.deploy(sources, { projectName });
    for (const versionId of ["", first.versionId]) {
      const { invocationId } = await client.invocations.startInvocation({ functionName: "echo", versionId });
      expect(await first.fn("echo").get(invocationId)).toMatchObject({ versionId: first.versionId });
    }
    for (const versionId of ["latest", newer.versionId]) {
      const refused = await errorOf(client.invocations.startInvocation({ functionName: "echo", versionId }));
      expect(refused).toMatchObject({ reason: "ParameterValidationError", violations: [{ field: "version_id" }] });
      expect(String(refused)).toContain(first.versionId);
    }
    gates.open(gate);
  });

  test("reaches and lists only the children of its own invocation", async () => {
    const stranger = await project.fn("echo").start("a stranger");
    const other = await target.deploy({ "main.ts": MAIN, "gate.ts": GATE_SOURCE });
    expect(await project.fn("inside").callRemote(stranger, other.projectName)).toEqual({
      get: "InvocationDoesNotExist",
      cancel: "InvocationDoesNotExist",
      await: "InvocationDoesNotExist",
      own: "InvocationDoesNotExist",
      list: [],
      otherProject: "ProjectDoesNotExist",
    });
  });

  test("may not deploy, read logs, make keys or delete; its child has it as parent; it ends with its execution", async () => {
    const leak = project.fn<(gate: string) => { apiUrl: string; apiKey: string }>("leak");
    const gate = gates.place();
    const id = await leak.start(gate);
    const { result } = await untilState(leak, id, (state) => state.result !== undefined);
    await using client = new MultinodeClient(result ?? {});
    const { projectName } = project;
    // A service of its own process knows no tokens of executions at all.
    const reason = target.kind === "embedded" ? "PermissionDenied" : "ApiKeyIsInvalid";
    const denied = { reason };
    await expect(client.registry.listProjects({})).rejects.toMatchObject(denied);
    await expect(client.registry.createProject({ projectName: "x" })).rejects.toMatchObject(denied);
    await expect(client.registry.deleteProject({ projectName })).rejects.toMatchObject(denied);
    await expect(client.apiKeys.createApiKey({ displayName: "x" })).rejects.toMatchObject(denied);
    await expect(client.logs.listLogs({ invocationId: id })).rejects.toMatchObject({
      reason: "PermissionDenied",
      code: 7,
    });
    await expect(client.scheduler.listWorkers({})).rejects.toMatchObject(denied);

    const { invocationId } = await client.invocations.startInvocation({ functionName: "echo" });
    const child = await project.fn("echo").get(invocationId);
    expect(child).toMatchObject({ parentInvocationId: id, versionId: project.versionId });
    await untilStatus(project.fn("echo"), invocationId, "SUCCEEDED");
    gates.open(gate);
    await untilStatus(leak, id, "SUCCEEDED");
    const late = await errorOf(client.invocations.startInvocation({ functionName: "echo" }));
    expect(late).toMatchObject({ reason: "ApiKeyIsInvalid" });
  });
});
