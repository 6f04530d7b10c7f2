/** Who may call what: every method with no, wrong, several, revoked and foreign credentials; and what is not there at all. */
import { expect, it } from "vitest";
import { EventServiceDefinition } from "../../gen/multinode/event/v1/event_service.pb.js";
import { DispatchServiceDefinition } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { InvocationServiceDefinition } from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { TeardownServiceDefinition } from "../../gen/multinode/invocation/v1/teardown_service.pb.js";
import { CatalogServiceDefinition } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import { SchedulerServiceDefinition } from "../../gen/multinode/scheduler/v1/scheduler_service.pb.js";
import { WorkerServiceDefinition } from "../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { bearer, type Headers, type RawService, summary } from "../harness/raw_call.js";
import { KEY_SERVICES, openScene, UNKNOWN } from "./bad_requests.js";

const SERVICE = InvocationServiceDefinition;
const INSIDE: readonly RawService[] = [
  CatalogServiceDefinition,
  DispatchServiceDefinition,
  TeardownServiceDefinition,
  EventServiceDefinition,
];
const KEY_INVALID = "UNAUTHENTICATED ApiKeyIsInvalid";
const DENIED = "PERMISSION_DENIED PermissionDenied";

/** A function that tells the token of its execution, and runs until it is cancelled. */
const MAIN = `
  import { getContext, Multinode } from "multinode";
  export const mn = new Multinode();
  export const child = mn.function(() => 1);
  export const teller = mn.function({ gracePeriod: 100 }, async function* () {
    const storage = (globalThis as any)[Symbol.for("multinode.runningExecution")];
    yield storage.getStore().executionToken;
    const { signal } = getContext();
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
  });
`;

const scene = openScene();

/** What comes of every method of the services with these headers, by path; only what is not as expected. */
async function unexpected(
  services: readonly RawService[],
  headers: Headers,
  ...expected: readonly string[]
): Promise<object> {
  const surprises: Record<string, string> = {};
  for (const service of services) {
    for (const method of Object.values(service.methods)) {
      const got = summary(await scene.send(service, method, {}, headers));
      if (!expected.includes(got)) surprises[`${service.fullName}/${method.name}`] = got;
    }
  }
  return surprises;
}

it("refuses every method without a good API key", async () => {
  const good = scene.target.apiKey;
  const bad: Readonly<Record<string, Headers>> = {
    none: [],
    empty: [["authorization", ""]],
    "no token": [["authorization", "Bearer "]],
    "another scheme": [["authorization", `Basic ${good}`]],
    "no scheme": [["authorization", good]],
    // HTTP/2 in Node neither sends the header twice nor hands a second one to a server; a proxy joins them so.
    "two keys": bearer(`${good}, Bearer ${good}`),
    "a part of the key": bearer(good.slice(0, -1)),
    "the key and more": bearer(`${good}0`),
    "the key in capitals": bearer(good.toUpperCase()),
    "a made-up key": bearer(good.replace(/.{8}$/, "00000000")),
    "513 characters": bearer("k".repeat(513)),
    "another header": [["x-api-key", good]],
    "a made-up token of an execution": bearer(`mnx_${UNKNOWN}${UNKNOWN}_${"A".repeat(43)}`),
    "a made-up token of a worker": bearer(`mnw_${UNKNOWN}_${"A".repeat(43)}`),
    SQL: bearer("'OR'1'='1"),
  };
  const services = [...KEY_SERVICES, WorkerServiceDefinition];
  for (const [name, headers] of Object.entries(bad)) {
    expect({ [name]: await unexpected(services, headers, KEY_INVALID) }).toEqual({ [name]: {} });
  }
  expect(await scene.goodCall()).toBe("OK");
});

it("refuses a revoked key at once, and every method of it", async () => {
  const { client } = scene.target;
  const { apiKey, secret } = await client.apiKeys.createApiKey({ displayName: "to be revoked" });
  const list = { pageSize: 1 };
  const registry = KEY_SERVICES[0];
  const listProjects = registry?.methods["listProjects"];
  if (registry === undefined || listProjects === undefined) throw new Error("the registry lists no projects");
  expect(summary(await scene.send(registry, listProjects, list, bearer(secret)))).toBe("OK");
  await client.apiKeys.revokeApiKey({ keyId: apiKey?.keyId ?? "" });
  // Other services may know the key for 5 s more.
  await expect
    .poll(() => unexpected(KEY_SERVICES, bearer(secret), KEY_INVALID), { timeout: 10_000, interval: 200 })
    .toEqual({});
});

it("keeps the methods of workers from API keys", async () => {
  expect(await unexpected([WorkerServiceDefinition], scene.asKey, DENIED)).toEqual({});
});

it("does not serve from outside what services tell each other", async () => {
  for (const service of INSIDE) {
    for (const method of Object.values(service.methods)) {
      const { code } = await scene.send(service, method, {});
      expect(`${service.fullName}/${method.name} ${code}`).toMatch(/ (UNIMPLEMENTED|PERMISSION_DENIED)$/);
    }
  }
});

it("answers unknown services and methods with UNIMPLEMENTED, and what comes after them", async () => {
  const paths = [
    "/multinode.registry.v1.RegistryService/DropTables",
    "/multinode.registry.v1.RegistryService/listProjects",
    "/multinode.registry.v2.RegistryService/ListProjects",
    "/multinode.registry.v1.RegistryService/",
    "/multinode.registry.v1.RegistryService/constructor",
    "/multinode.registry.v1.RegistryService/%4CistProjects",
    "/multinode.registry.v1.RegistryService/ListProjects?page_size=1",
    "/multinode.invocation.v1.InvocationService/DropTables",
    "/multinode.scheduler.v1.SchedulerService/DropTables",
    "/../../etc/passwd",
  ];
  const { listWorkers } = SchedulerServiceDefinition.methods;
  // A gateway's connection on which such an answer came early would, now and then, not be good for the next call.
  for (let round = 0; round < 30; round++) {
    for (const path of paths) {
      expect(`${path} ${(await scene.sendBytes(path, [new Uint8Array()])).code}`).toBe(`${path} UNIMPLEMENTED`);
    }
    expect(await scene.goodCall()).toBe("OK");
    expect(summary(await scene.send(SchedulerServiceDefinition, listWorkers, {}))).toBe("OK");
  }
});

it("lets the token of an execution do nothing but start, get, list, watch and cancel its own children", async () => {
  const { target } = scene;
  const project = await target.deploy({ "main.ts": MAIN });
  const { projectName } = project;
  const teller = project.fn<() => AsyncGenerator<string>>("teller");
  const [invocationId, stranger] = await Promise.all([teller.start(), project.fn("child").start()]);
  const token = await firstText(teller.watch(invocationId));
  const asExecution = bearer(token);
  const call = async (name: keyof typeof SERVICE.methods, request: object) =>
    summary(await scene.send(SERVICE, SERVICE.methods[name], request, asExecution));

  const others = [...KEY_SERVICES.filter((service) => service !== SERVICE), WorkerServiceDefinition];
  // A service that runs by itself does not know the tokens of another one.
  expect(await unexpected(others, asExecution, DENIED, KEY_INVALID)).toEqual({});
  expect(await call("listInvocations", { projectName })).toBe("OK");
  expect(await call("listInvocations", { projectName, parentInvocationId: stranger })).toBe(DENIED);
  expect(await call("listInvocations", { projectName: "another" })).toBe(
    "NOT_FOUND ProjectDoesNotExist projectName=another",
  );
  expect(await call("startInvocation", { functionName: "child" })).toBe("OK");
  expect(await call("startInvocation", { functionName: "child", parentInvocationId: stranger })).toBe(DENIED);
  for (const id of [stranger, invocationId]) {
    for (const name of ["getInvocation", "cancelInvocation"] as const) {
      expect(`${name} ${await call(name, { invocationId: id })}`).toBe(
        `${name} NOT_FOUND InvocationDoesNotExist invocationId=${id}`,
      );
    }
  }
  const forged = token.replace(/.{4}$/, "AAAA");
  const child = { functionName: "child" };
  expect(summary(await scene.send(SERVICE, SERVICE.methods.startInvocation, child, bearer(forged)))).toBe(KEY_INVALID);

  await teller.cancel(invocationId);
  for await (const _ of teller.watch(invocationId, { until: "terminated" }));
  expect(await call("startInvocation", child)).toBe(KEY_INVALID);
});

interface State {
  readonly result: unknown;
}

/** The first result that is a text. */
async function firstText(states: AsyncIterable<State>): Promise<string> {
  for await (const { result } of states) if (typeof result === "string") return result;
  throw new Error("the watch ended before that");
}
