import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CreateVersionRequest, ProjectPolicy } from "../../gen/multinode/registry/v1/registry_service.pb.js";
import { MultinodeClient } from "../../sdk/typescript/src/client/client.js";
import { ERROR_CLASSES } from "../../sdk/typescript/src/errors.js";
import { Multinode, MultinodeError } from "../../sdk/typescript/src/index.js";
import type { Reason } from "../../sdk/typescript/src/protocol/reasons.js";
import { errorOf, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const UNKNOWN = "0".repeat(26);

let target: Target;
let project: DeployedProject;
let digest: string;
beforeAll(async () => {
  target = openTarget();
  project = await target.deploy({
    "main.ts": `
      import { Multinode } from "multinode";
      export const mn = new Multinode();
      export const echo = mn.function({ maxInvocationsPerWorker: Infinity }, (value: unknown) => value);
    `,
  });
  const { version } = await target.client.registry.getVersion(project);
  if (version?.code?.source?.$case === "bundle") digest = version.code.source.value.digest;
});
afterAll(() => target.close());

function versionRequest(fields: Partial<CreateVersionRequest>): CreateVersionRequest {
  return CreateVersionRequest.fromPartial({
    projectName: project.projectName,
    projectPolicy: ProjectPolicy.MUST_EXIST,
    code: { source: { $case: "bundle", value: { digest } } },
    functions: [{ functionName: "echo" }],
    ...fields,
  });
}

/** Reason, gRPC status code, and a call that is refused for it. */
const REFUSALS: readonly (readonly [Reason, number, () => Promise<unknown>])[] = [
  ["ParameterValidationError", 3, () => target.client.registry.createProject({ projectName: "not a name" })],
  ["OffsetIsInvalid", 3, () => project.fn("echo").list({ offset: "nonsense" })],
  [
    "FunctionInputSizeLimitExceeded",
    3,
    () =>
      target.client.invocations.startInvocation({
        projectName: project.projectName,
        functionName: "echo",
        arguments: { positional: { data: Buffer.from(`["${"x".repeat(250_000)}"]`) } },
      }),
  ],
  ["ApiKeyIsInvalid", 16, () => clientWith("wrong").registry.listProjects({})],
  ["ProjectDoesNotExist", 5, () => target.fn(target.newProjectName(), "echo").start()],
  ["VersionDoesNotExist", 5, () => project.fn("echo", `ver-${UNKNOWN}`).start()],
  ["FunctionDoesNotExist", 5, () => project.fn("unknown").start()],
  ["InvocationDoesNotExist", 5, () => project.fn("echo").get(`inv-${UNKNOWN}`)],
  [
    "ExecutionDoesNotExist",
    5,
    async () => {
      const invocationId = await project.fn("echo").start();
      return target.client.logs.listLogs({ invocationId, executionId: `exe-${UNKNOWN}` });
    },
  ],
  [
    "ParentInvocationDoesNotExist",
    5,
    () =>
      target.client.invocations.startInvocation({
        projectName: project.projectName,
        functionName: "echo",
        parentInvocationId: `inv-${UNKNOWN}`,
      }),
  ],
  [
    "BundleDoesNotExist",
    5,
    () =>
      target.client.registry.createVersion(
        versionRequest({
          code: { source: { $case: "bundle", value: { digest: "0".repeat(64) } }, environment: {} },
        }),
      ),
  ],
  ["ProjectAlreadyExists", 6, () => target.client.registry.createProject({ projectName: project.projectName })],
  [
    "VersionAlreadyExists",
    6,
    async () => {
      const requestId = crypto.randomUUID();
      const first = await target.client.registry.createVersion(versionRequest({ requestId }));
      const again = await target.client.registry.createVersion(versionRequest({ requestId }));
      expect(again.version?.versionId).toBe(first.version?.versionId);
      const functions = versionRequest({}).functions.map((spec) => ({ ...spec, functionName: "another" }));
      return target.client.registry.createVersion(versionRequest({ requestId, functions }));
    },
  ],
  [
    "IdempotencyKeyReused",
    6,
    async () => {
      const fn = project.fn("echo").withOptions({ idempotencyKey: crypto.randomUUID() });
      await fn.start(1);
      return fn.start(2);
    },
  ],
  [
    "InvocationIsAlreadyTerminated",
    9,
    async () => {
      const fn = project.fn("echo");
      const id = await fn.start();
      await untilTerminated(fn, id);
      return fn.cancel(id);
    },
  ],
];

function clientWith(apiKey: string): MultinodeClient {
  return new MultinodeClient({ apiUrl: target.apiUrl, apiKey });
}

describe.concurrent("refusals", () => {
  test.each(REFUSALS)("%s has its gRPC status and a class of its own", async (reason, code, call) => {
    const error = await errorOf(call());
    expect(error).toBeInstanceOf(MultinodeError);
    expect(error).toBeInstanceOf(ERROR_CLASSES[reason]);
    expect(error).toMatchObject({ reason, code, name: reason });
  });

  test("bad input names every bad field with its path", async () => {
    const functions = [{ functionName: "9bad" }, { functionName: "good", options: { cpu: 99, maxRetries: 51 } }];
    const error = await errorOf(
      target.client.registry.createVersion(CreateVersionRequest.fromPartial({ ...versionRequest({}), functions })),
    );
    expect(error).toMatchObject({ reason: "ParameterValidationError" });
    const fields = error instanceof MultinodeError ? error.violations.map(({ field }) => field) : [];
    expect(fields.toSorted()).toEqual([
      "functions[0].function_name",
      "functions[1].options.cpu",
      "functions[1].options.max_retries",
    ]);
  });

  test("a server that cannot be reached is Unavailable", async () => {
    const client = new MultinodeClient({ apiUrl: "http://127.0.0.1:1", apiKey: "key", retryForMs: 0 });
    await expect(client.registry.listProjects({})).rejects.toMatchObject({ reason: "Unavailable", code: 14 });
    await client.close();
  });

  test("too many items in a batch are refused, and none of them starts", async () => {
    const request = { projectName: project.projectName, functionName: "echo" };
    const refused = target.client.invocations.batchStartInvocations({
      requests: Array.from({ length: 1_001 }, () => request),
      requestId: "",
    });
    await expect(refused).rejects.toMatchObject({ reason: "ParameterValidationError" });
  });

  test("one bad start of a batch does not undo the others", async () => {
    const good = { projectName: project.projectName, functionName: "echo" };
    const { outcomes } = await target.client.invocations.batchStartInvocations({
      requests: [good, { ...good, functionName: "unknown" }, good],
      requestId: "",
    });
    expect(outcomes.map(({ outcome }) => outcome?.$case)).toEqual(["invocationId", "error", "invocationId"]);
  });

  test("a function that was defined here is not called remotely from an application", () => {
    const echo = new Multinode().function((x: number) => x);
    return expect(echo.start(1)).rejects.toThrow(/getDeployedFunction/);
  });

  test("callLocal runs the code here", async () => {
    const count = new Multinode().function(function* () {
      yield 1;
      yield 2;
    });
    expect(await count.callLocal()).toBe(2);
  });
});
