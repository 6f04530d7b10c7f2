/** The gateway's configuration names the methods that it lets pass: all of the public's, each to its own service, and no other. */
import { readFileSync } from "node:fs";
import { HealthDefinition } from "nice-grpc-server-health";
import { expect, test } from "vitest";
import * as dispatch from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import * as invocation from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import * as logs from "../../gen/multinode/invocation/v1/log_service.pb.js";
import * as teardown from "../../gen/multinode/invocation/v1/teardown_service.pb.js";
import * as keys from "../../gen/multinode/registry/v1/api_key_service.pb.js";
import * as catalog from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import * as registry from "../../gen/multinode/registry/v1/registry_service.pb.js";
import * as scheduler from "../../gen/multinode/scheduler/v1/scheduler_service.pb.js";
import * as worker from "../../gen/multinode/scheduler/v1/worker_service.pb.js";

const PUBLIC = {
  registry: [registry.RegistryServiceDefinition, keys.ApiKeyServiceDefinition, HealthDefinition],
  invocation: [invocation.InvocationServiceDefinition, logs.LogServiceDefinition],
  scheduler: [scheduler.SchedulerServiceDefinition],
};
const INSIDE = [
  catalog.CatalogServiceDefinition,
  dispatch.DispatchServiceDefinition,
  teardown.TeardownServiceDefinition,
  worker.WorkerServiceDefinition,
];

const routes = readRoutes(readFileSync(new URL("../../deploy/gateway/nginx.conf", import.meta.url), "utf8"));
const routeOf = (path: string) => routes.filter(([pattern]) => pattern.test(path)).map(([, service]) => service);

test("every method of the public goes to its service", () => {
  const expected = Object.entries(PUBLIC).flatMap(([service, definitions]) =>
    pathsOf(definitions).map((path) => [path, [service]]),
  );
  expected.push(["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", ["registry"]]);
  expect(expected.map(([path]) => [path, routeOf(String(path))])).toEqual(expected);
});

test("no method of the inside has a way, and none that does not exist is named", () => {
  expect(pathsOf(INSIDE).filter((path) => routeOf(path).length > 0)).toEqual([]);
  const named = routes.flatMap(([{ source }]) => source.split("/").at(-1)?.replaceAll(/[()$]/g, "").split("|") ?? []);
  const existing = pathsOf(Object.values(PUBLIC).flat()).map((path) => path.split("/")[2] ?? "");
  expect(named.toSorted()).toEqual([...existing, "ServerReflectionInfo"].toSorted());
});

interface Definition {
  readonly fullName: string;
  readonly methods: Readonly<Record<string, { readonly name: string }>>;
}

function pathsOf(definitions: readonly Definition[]): string[] {
  return definitions.flatMap(({ fullName, methods }) =>
    Object.values(methods).map(({ name }) => `/${fullName}/${name}`),
  );
}

/** What stands in `map $request_uri $service`. */
function readRoutes(config: string): readonly (readonly [pattern: RegExp, service: string])[] {
  const [, block = ""] = /map \$request_uri \$service \{([^}]*)\}/.exec(config) ?? [];
  return [...block.matchAll(/^ +~(\S+) (\w+);$/gm)].map(([, pattern = "", service = ""]) => [
    new RegExp(pattern),
    service,
  ]);
}
