/** A server that remembers what it was sent and answers from plain objects, for tests of the command line. */
import { createHash } from "node:crypto";
import { type CallContext, createServer, Status as GrpcStatus, ServerError } from "nice-grpc";
import { ErrorInfo } from "../../../../../gen/google/rpc/error_details.pb.js";
import { Status as RpcStatus } from "../../../../../gen/google/rpc/status.pb.js";
import { Invocation, Status } from "../../../../../gen/multinode/invocation/v1/invocation.pb.js";
import {
  InvocationServiceDefinition,
  type InvocationServiceImplementation,
  type StartInvocationRequest,
} from "../../../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import {
  type LogLine,
  LogServiceDefinition,
  type LogServiceImplementation,
} from "../../../../../gen/multinode/invocation/v1/log_service.pb.js";
import {
  ApiKeyServiceDefinition,
  type ApiKeyServiceImplementation,
} from "../../../../../gen/multinode/registry/v1/api_key_service.pb.js";
import { type Version, Version as VersionMessage } from "../../../../../gen/multinode/registry/v1/function.pb.js";
import {
  ProjectPolicy,
  RegistryServiceDefinition,
  type RegistryServiceImplementation,
} from "../../../../../gen/multinode/registry/v1/registry_service.pb.js";
import { ERROR_DOMAIN, REASON_STATUS, type Reason } from "../../protocol/reasons.js";

export const API_KEY = "key-for-tests";

export class FakeServices implements AsyncDisposable {
  readonly url: string;
  readonly projects = new Map<string, { versions: Version[]; deleting: boolean }>();
  /** Sizes by digest. */
  readonly bundles = new Map<string, number>();
  readonly starts: StartInvocationRequest[] = [];
  /** The states through which an invocation goes: `get` answers the first, `watch` sends them all. */
  readonly invocations = new Map<string, Invocation[]>();
  readonly cancelled: string[] = [];
  readonly revokedKeys: string[] = [];
  readonly logLines: LogLine[] = [];
  /** How often GetProject still finds a project that is being deleted. */
  pollsUntilGone = 1;
  /** How many streams of FollowLogs break after their first line. */
  brokenLogStreams = 0;
  readonly #stop: () => Promise<void>;

  private constructor(url: string, stop: () => Promise<void>) {
    this.url = url;
    this.#stop = stop;
  }

  static async start(): Promise<FakeServices> {
    const server = createServer();
    let services: FakeServices | undefined;
    const get = (): FakeServices => services ?? fail("the server has no services yet");
    server.add(RegistryServiceDefinition, registryOf(get));
    server.add(InvocationServiceDefinition, invocationsOf(get));
    server.add(LogServiceDefinition, logsOf(get));
    server.add(ApiKeyServiceDefinition, oldKeysOf(get));
    const port = await server.listen("127.0.0.1:0");
    services = new FakeServices(`http://127.0.0.1:${port}`, async () => server.forceShutdown());
    return services;
  }

  addInvocation(id: string, ...states: readonly Partial<Invocation>[]): void {
    const shared = { invocationId: id, projectName: "shop", versionId: testId("ver"), functionName: "resize" };
    const whole = states.map((state, index) =>
      Invocation.fromPartial({ ...shared, status: Status.PENDING, revision: index + 1, createTimeMs: 1_000, ...state }),
    );
    this.invocations.set(id, whole);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
  }
}

/** An id of the right form; the same for the same number. */
export function testId(prefix: string, number = 1): string {
  return `${prefix}-${String(number).padStart(26, "0")}`;
}

function registryOf(services: () => FakeServices): RegistryServiceImplementation {
  const projectOf = (name: string, context: CallContext) => {
    check(context);
    return services().projects.get(name) ?? refuse(context, "ProjectDoesNotExist", `there is no project "${name}"`);
  };
  const shown = (projectName: string, { versions, deleting }: { versions: Version[]; deleting: boolean }) => ({
    projectName,
    latestVersionId: versions[0]?.versionId ?? "",
    createTimeMs: 1_000,
    deleting,
  });
  const versionOf = (name: string, versionId: string, context: CallContext): Version => {
    const { versions } = projectOf(name, context);
    const isLatest = versionId === "" || versionId === "latest";
    const found = isLatest ? versions[0] : versions.find((version) => version.versionId === versionId);
    return found ?? refuse(context, "VersionDoesNotExist", "there is no such version");
  };
  return {
    async createProject(_request, context) {
      return refuse(context, "PermissionDenied", "not here");
    },
    async listProjects(_request, context) {
      check(context);
      return { projects: [...services().projects].map(([name, project]) => shown(name, project)) };
    },
    async getProject({ projectName }, context) {
      const project = projectOf(projectName, context);
      if (project.deleting && services().pollsUntilGone-- <= 0) services().projects.delete(projectName);
      return { project: shown(projectName, project) };
    },
    async deleteProject({ projectName }, context) {
      const project = projectOf(projectName, context);
      project.deleting = true;
      return { project: shown(projectName, project) };
    },
    async uploadBundle(requests, context) {
      check(context);
      const hash = createHash("sha256");
      let sizeBytes = 0;
      let digest = "";
      for await (const request of requests) {
        digest ||= request.digest;
        sizeBytes += request.chunk.length;
        hash.update(request.chunk);
      }
      if (hash.digest("hex") !== digest) return refuse(context, "BundleIsInvalid", "the digest does not match");
      services().bundles.set(digest, sizeBytes);
      return { sizeBytes };
    },
    async createVersion({ projectName, projectPolicy, code, functions }, context) {
      check(context);
      const earlier = services().projects.get(projectName);
      if (earlier !== undefined && projectPolicy === ProjectPolicy.MUST_BE_NEW) {
        return refuse(context, "ProjectAlreadyExists", "it exists");
      }
      if (earlier === undefined && projectPolicy === ProjectPolicy.MUST_EXIST) {
        return refuse(context, "ProjectDoesNotExist", "it does not exist");
      }
      const project = earlier ?? { versions: [], deleting: false };
      const versionId = testId("ver", project.versions.length + 1);
      const version = VersionMessage.fromPartial({ versionId, projectName, code, functions, createTimeMs: 1_000 });
      project.versions.unshift(version);
      services().projects.set(projectName, project);
      return { version };
    },
    async getVersion({ projectName, versionId }, context) {
      return { version: versionOf(projectName, versionId, context) };
    },
    async listVersions({ projectName }, context) {
      return { versions: projectOf(projectName, context).versions };
    },
    async getFunction({ projectName, versionId, functionName }, context) {
      const version = versionOf(projectName, versionId, context);
      const found = version.functions.find((candidate) => candidate.functionName === functionName);
      if (found === undefined) return refuse(context, "FunctionDoesNotExist", "there is no such function");
      return { versionId: version.versionId, function: found };
    },
  };
}

/** As they were before keys had roles. */
function oldKeysOf(services: () => FakeServices): ApiKeyServiceImplementation {
  return {
    async createApiKey({ displayName }, context) {
      check(context);
      return { apiKey: { keyId: testId("key"), displayName, createTimeMs: 1_000 }, secret: "mn_secret" };
    },
    async listApiKeys(_request, context) {
      return refuse(context, "PermissionDenied", "not here");
    },
    async revokeApiKey({ keyId }, context) {
      check(context);
      services().revokedKeys.push(keyId);
      return { apiKey: { keyId } };
    },
  };
}

function invocationsOf(services: () => FakeServices): InvocationServiceImplementation {
  const statesOf = (id: string, context: CallContext): Invocation[] => {
    check(context);
    return services().invocations.get(id) ?? refuse(context, "InvocationDoesNotExist", `there is no invocation ${id}`);
  };
  return {
    async startInvocation(_request, context) {
      return refuse(context, "PermissionDenied", "not here");
    },
    async batchStartInvocations({ requests }, context) {
      check(context);
      services().starts.push(...requests);
      return { outcomes: requests.map(() => ({ outcome: { $case: "invocationId" as const, value: testId("inv") } })) };
    },
    // A sender falls back to batches where there is no stream.
    streamStartInvocations(_requests, context) {
      return refuse(context, "PermissionDenied", "not here");
    },
    async getInvocation({ invocationId }, context) {
      return { invocation: statesOf(invocationId, context)[0] };
    },
    async listInvocations({ statuses }, context) {
      check(context);
      const newest = [...services().invocations.values()].flatMap((states) => states.slice(0, 1));
      return { invocations: newest.filter(({ status }) => statuses.length === 0 || statuses.includes(status)) };
    },
    async cancelInvocation({ invocationId }, context) {
      const invocation = statesOf(invocationId, context)[0];
      if (invocation?.terminated) return refuse(context, "InvocationIsAlreadyTerminated", "it has ended");
      services().cancelled.push(invocationId);
      return { invocation: { ...invocation, status: Status.CANCELLING } };
    },
    async *watchInvocations(requests, context) {
      check(context);
      for await (const { add } of requests) {
        for (const { invocationId } of add) {
          for (const state of statesOf(invocationId, context)) yield { invocations: [state] };
        }
      }
    },
  };
}

function logsOf(services: () => FakeServices): LogServiceImplementation {
  const linesOf = (executionId: string, context: CallContext): LogLine[] => {
    check(context);
    return services().logLines.filter((line) => executionId === "" || line.executionId === executionId);
  };
  return {
    async listLogs({ executionId, offset }, context) {
      const lines = linesOf(executionId, context);
      const start = Number(offset);
      return { lines: lines.slice(start, start + 1), nextOffset: start + 1 < lines.length ? String(start + 1) : "" };
    },
    async *followLogs({ executionId }, context) {
      const lines = linesOf(executionId, context);
      const isBroken = services().brokenLogStreams > 0;
      if (isBroken) services().brokenLogStreams -= 1;
      yield { lines: isBroken ? lines.slice(0, 1) : lines };
      if (isBroken) throw new ServerError(GrpcStatus.UNAVAILABLE, "going away");
    },
  };
}

function check(context: CallContext): void {
  if (context.metadata.get("authorization") === `Bearer ${API_KEY}`) return;
  refuse(context, "ApiKeyIsInvalid", "the API key is not valid");
}

function refuse(context: CallContext, reason: Reason, message: string): never {
  const info = ErrorInfo.encode({ reason, domain: ERROR_DOMAIN, metadata: {} }).finish();
  const code = REASON_STATUS[reason];
  const details = [{ typeUrl: "type.googleapis.com/google.rpc.ErrorInfo", value: Buffer.from(info) }];
  context.trailer.set("grpc-status-details-bin", RpcStatus.encode({ code, message, details }).finish());
  throw new ServerError(code, message);
}

function fail(message: string): never {
  throw new Error(message);
}
