import { ClientError, createChannel, createClient, Metadata, Status } from "nice-grpc";
import { expect, it } from "vitest";
import { BadRequest, ErrorInfo, RetryInfo } from "../../../gen/google/rpc/error_details.pb.js";
import { Status as RpcStatus } from "../../../gen/google/rpc/status.pb.js";
import { CatalogServiceDefinition } from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import { REASON_STATUS } from "../../../sdk/typescript/src/protocol/reasons.js";
import { badRequest, limitIsExceeded, Refusal } from "../errors.js";
import { createLogger } from "../log.js";
import { ACCESS } from "./access.js";
import { toRpcStatus, toServerError } from "./error_status.js";
import { createRpcServer } from "./server.js";
import { connectToService } from "./service_client.js";

function detailsOf({ details }: RpcStatus) {
  const found = (name: string) =>
    details.find(({ typeUrl }) => typeUrl === `type.googleapis.com/google.rpc.${name}`)?.value;
  const [info, bad, retry] = [found("ErrorInfo"), found("BadRequest"), found("RetryInfo")];
  return {
    info: info && ErrorInfo.decode(info),
    violations: bad && BadRequest.decode(bad).fieldViolations,
    retryDelay: retry && RetryInfo.decode(retry).retryDelay,
  };
}

it("gives each reason its code and its name", () => {
  for (const [reason, code] of Object.entries(REASON_STATUS)) {
    const status = toRpcStatus(new Refusal(reason as keyof typeof REASON_STATUS, "m", { metadata: { a: "1" } }));
    expect(status).toMatchObject({ code, message: "m" });
    expect(code).not.toBe(Status.OK);
    expect(detailsOf(status).info).toEqual({ reason, domain: "multinode.dev", metadata: { a: "1" } });
  }
});

it("names every bad field, and says when to try again", () => {
  const violations = [{ field: "functions[2].options.cpu", description: "0 is not above 0" }];
  expect(detailsOf(toRpcStatus(badRequest(violations))).violations).toEqual(violations);
  const limited = toRpcStatus(new Refusal("ResourceExhausted", "m", { retryAfterMs: 1_250 }));
  expect(detailsOf(limited).retryDelay).toEqual({ seconds: 1, nanos: 250_000_000 });
  const unknown = toRpcStatus(new Refusal("ResourceExhausted", "m"));
  expect(detailsOf(unknown).retryDelay).toEqual({ seconds: 1, nanos: 0 });
  expect(detailsOf(limited).violations).toBeUndefined();
  const lasting = detailsOf(toRpcStatus(limitIsExceeded("m", 7)));
  expect([lasting.info?.metadata, lasting.retryDelay]).toEqual([{ limit: "7" }, undefined]);
});

it("keeps what a caller sent short", () => {
  const metadata = { projectName: "b".repeat(100_000) };
  expect(toRpcStatus(new Refusal("ProjectDoesNotExist", "m", { metadata })).details[0]?.value.byteLength).toBeLessThan(
    1_000,
  );
});

it("puts the details where clients look for them", () => {
  const trailer = Metadata();
  const error = toServerError(new Refusal("VersionDoesNotExist", "m"), trailer);
  expect(error).toMatchObject({ code: Status.NOT_FOUND, details: "m" });
  const encoded = trailer.get("grpc-status-details-bin");
  expect(encoded === undefined ? undefined : detailsOf(RpcStatus.decode(encoded)).info?.reason).toBe(
    "VersionDoesNotExist",
  );
});

it("reaches the caller, however much is wrong", async () => {
  const violations = Array.from({ length: 1_000 }, (_, index) => ({
    field: `functions[${index}].${"ü".repeat(100)}`,
    description: "界".repeat(2_000),
  }));
  const server = createRpcServer({
    log: createLogger("test", "silent"),
    authorities: [async () => ({ kind: "service" })],
    access: ACCESS,
    stopping: new AbortController().signal,
  });
  const refuse = async () => {
    throw badRequest(violations);
  };
  server.add(CatalogServiceDefinition, {
    resolveFunctions: refuse,
    resolveProject: refuse,
    listStandingFunctions: refuse,
    findUsedBundles: refuse,
    getCode: refuse,
    verifyApiKey: refuse,
    downloadBundle: async function* () {
      yield { chunk: new Uint8Array(await refuse()) };
    },
  });
  const connection = connectToService(`127.0.0.1:${await server.listen("127.0.0.1:0")}`, "token");
  try {
    const call = connection.client(CatalogServiceDefinition).getCode({ versionId: "" });
    await expect(call).rejects.toMatchObject({ reason: "ParameterValidationError" });
    const status = toRpcStatus(badRequest(violations));
    const trailers = encodeURIComponent(status.message).length + (4 / 3) * RpcStatus.encode(status).finish().length;
    expect(trailers).toBeLessThan(9_000);
    expect(detailsOf(status).violations?.length).toBeGreaterThan(0);
  } finally {
    connection.close();
    server.forceShutdown();
  }
});

it("is an error of the server where a handler throws anything else, and tells nothing of it", async () => {
  const rpc = createRpcServer({
    log: createLogger("test", "silent"),
    authorities: [async () => ({ kind: "service" })],
    access: ACCESS,
    stopping: new AbortController().signal,
  });
  const fail = async () => {
    throw new Error("secret of the house");
  };
  rpc.add(CatalogServiceDefinition, {
    resolveFunctions: fail,
    resolveProject: fail,
    listStandingFunctions: fail,
    findUsedBundles: fail,
    getCode: fail,
    verifyApiKey: fail,
    downloadBundle: async function* () {
      yield { chunk: new Uint8Array(await fail()) };
    },
  });
  const channel = createChannel(`127.0.0.1:${await rpc.listen("127.0.0.1:0")}`);
  try {
    const client = createClient(CatalogServiceDefinition, channel);
    const metadata = Metadata({ authorization: "Bearer token" });
    const error: unknown = await client.getCode({ versionId: "" }, { metadata }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ClientError);
    expect(error).toMatchObject({ code: Status.INTERNAL });
    expect(String(error)).not.toContain("secret");
  } finally {
    channel.close();
    rpc.forceShutdown();
  }
});
