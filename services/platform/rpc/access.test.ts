import { describe, expect, it } from "vitest";
import { ApiKeyRole } from "../../../gen/multinode/registry/v1/api_key_role.pb.js";
import { ACCESS, isProjectOf, requireAccess, requireProject } from "./access.js";
import type { Principal } from "./principal.js";

const START = "/multinode.invocation.v1.InvocationService/StartInvocation";
const GET = "/multinode.invocation.v1.InvocationService/GetInvocation";

function key(role: number, projectName = ""): Principal {
  return { kind: "key", keyId: "key", role: role as ApiKeyRole, projectName };
}

const EXECUTION: Principal = {
  kind: "execution",
  executionId: "exe",
  invocationId: "inv",
  projectName: "shop",
  versionId: "ver",
};

function reasonOf(work: () => void): string {
  try {
    work();
    return "OK";
  } catch (error) {
    return String(Reflect.get(error as object, "reason"));
  }
}

describe("access to a method", () => {
  it.each([
    ["a small role", GET, key(ApiKeyRole.READ), "OK"],
    ["too small a role", START, key(ApiKeyRole.READ), "PermissionDenied"],
    ["a larger role", START, key(ApiKeyRole.ADMIN), "OK"],
    ["a role that is newer than this program", GET, key(99), "PermissionDenied"],
    ["no role at all", GET, key(ApiKeyRole.UNSPECIFIED), "PermissionDenied"],
    ["an execution", START, EXECUTION, "OK"],
    ["a worker", START, { kind: "worker", workerId: "wrk" } as const, "PermissionDenied"],
  ])("with %s", (_, path, principal, outcome) => {
    expect(reasonOf(() => requireAccess(ACCESS, path, principal))).toBe(outcome);
  });

  it("is nobody's where the table says nothing", () => {
    const unknown = "/multinode.registry.v2.RegistryService/GetProject";
    expect(reasonOf(() => requireAccess(ACCESS, unknown, key(ApiKeyRole.ADMIN)))).toBe("PermissionDenied");
  });
});

describe("a project", () => {
  it.each([
    ["a key of all projects", key(ApiKeyRole.READ), "other", "OK"],
    ["a key of it", key(ApiKeyRole.READ, "shop"), "shop", "OK"],
    ["a key of another", key(ApiKeyRole.READ, "shop"), "other", "ProjectDoesNotExist"],
    ["an execution of it", EXECUTION, "shop", "OK"],
    ["an execution of another", EXECUTION, "other", "ProjectDoesNotExist"],
  ])("is there or not for %s", (_, principal, projectName, outcome) => {
    expect(reasonOf(() => requireProject(principal, { projectName }))).toBe(outcome);
    expect(isProjectOf(principal, projectName)).toBe(outcome === "OK");
  });

  it("that is not named, or by no name, is for the handler to refuse", () => {
    for (const request of [{}, { projectName: "" }, { projectName: "b".repeat(100_000) }]) {
      expect(reasonOf(() => requireProject(key(ApiKeyRole.READ, "shop"), request))).toBe("OK");
    }
  });
});
