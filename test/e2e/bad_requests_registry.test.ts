/** What the registry refuses, request by request: projects, versions' look-ups, and API keys. */
import { expect, it } from "vitest";
import { ApiKeyRole } from "../../gen/multinode/registry/v1/api_key_role.pb.js";
import { ApiKeyServiceDefinition } from "../../gen/multinode/registry/v1/api_key_service.pb.js";
import {
  ListProjectsResponse,
  RegistryServiceDefinition,
} from "../../gen/multinode/registry/v1/registry_service.pb.js";
import { badFields, summary } from "../harness/raw_call.js";
import type { DeployedProject } from "../harness/target.js";
import { badIds, badNames, badPages, badVersionIds, openScene, table, UNKNOWN } from "./bad_requests.js";

const REGISTRY = RegistryServiceDefinition;
const KEYS = ApiKeyServiceDefinition;
const MAIN = `
  import { Multinode } from "multinode";
  export const mn = new Multinode();
  export const echo = mn.function((value: unknown) => value);
`;

let project: DeployedProject;
let other: DeployedProject;
const scene = openScene(async ({ target }) => {
  project = await target.deploy({ "main.ts": MAIN });
  other = await target.deploy({ "main.ts": MAIN });
});

const MISSING = { projectName: "missing" };
const MISSING_SUMMARY = "NOT_FOUND ProjectDoesNotExist projectName=missing";

table(scene, REGISTRY, REGISTRY.methods.createProject, () => [
  ...badNames("projectName"),
  [
    "a name that is taken",
    { projectName: project.projectName },
    `ALREADY_EXISTS ProjectAlreadyExists projectName=${project.projectName}`,
  ],
]);

table(scene, REGISTRY, REGISTRY.methods.getProject, () => [
  ...badNames("projectName"),
  ["an unknown project", MISSING, MISSING_SUMMARY],
]);

table(scene, REGISTRY, REGISTRY.methods.deleteProject, () => [
  ...badNames("projectName"),
  ["an unknown project", MISSING, MISSING_SUMMARY],
]);

table(scene, REGISTRY, REGISTRY.methods.listProjects, () => badPages());

table(scene, REGISTRY, REGISTRY.methods.listVersions, () => [
  ...badNames("projectName"),
  ...badPages({ projectName: project.projectName }),
  ["an unknown project", MISSING, MISSING_SUMMARY],
]);

it("refuses an offset of another listing", async () => {
  const listed = await scene.send(REGISTRY, REGISTRY.methods.listProjects, { pageSize: 1 });
  const { nextOffset } = ListProjectsResponse.decode(listed.responses[0] ?? new Uint8Array());
  expect(nextOffset).not.toBe("");
  const good = await scene.send(REGISTRY, REGISTRY.methods.listProjects, { pageSize: 1, offset: nextOffset });
  expect(summary(good)).toBe("OK");
  const changed = `${nextOffset.slice(0, -1)}${nextOffset.endsWith("A") ? "B" : "A"}`;
  for (const [method, request] of [
    [REGISTRY.methods.listProjects, { offset: changed }],
    [REGISTRY.methods.listVersions, { projectName: project.projectName, offset: nextOffset }],
  ] as const) {
    expect(summary(await scene.send(REGISTRY, method, request))).toBe("INVALID_ARGUMENT OffsetIsInvalid");
  }
  const keys = await scene.send(KEYS, KEYS.methods.listApiKeys, { offset: nextOffset });
  expect(summary(keys)).toBe("INVALID_ARGUMENT OffsetIsInvalid");
});

table(scene, REGISTRY, REGISTRY.methods.getVersion, () => [
  ...badNames("projectName", { versionId: "latest" }),
  ...badVersionIds({ projectName: project.projectName }),
  ["an unknown project", MISSING, MISSING_SUMMARY],
  [
    "an unknown version",
    { projectName: project.projectName, versionId: `ver-${UNKNOWN}` },
    `NOT_FOUND VersionDoesNotExist projectName=${project.projectName} versionId=ver-${UNKNOWN}`,
  ],
  [
    "a version of another project",
    { projectName: project.projectName, versionId: other.versionId },
    `NOT_FOUND VersionDoesNotExist projectName=${project.projectName} versionId=${other.versionId}`,
  ],
]);

table(scene, REGISTRY, REGISTRY.methods.getFunction, () => {
  const { projectName, versionId } = project;
  return [
    ...badNames("projectName", { functionName: "echo" }),
    ...badNames("functionName", { projectName }),
    ...badVersionIds({ projectName, functionName: "echo" }),
    ["an unknown project", { ...MISSING, functionName: "echo" }, MISSING_SUMMARY],
    [
      "an unknown version",
      { projectName, versionId: `ver-${UNKNOWN}`, functionName: "echo" },
      `NOT_FOUND VersionDoesNotExist projectName=${projectName} versionId=ver-${UNKNOWN}`,
    ],
    [
      "an unknown function",
      { projectName, functionName: "Echo" },
      `NOT_FOUND FunctionDoesNotExist functionName=Echo projectName=${projectName} versionId=${versionId}`,
    ],
    [
      "the name of a property that every object has",
      { projectName, functionName: "constructor" },
      `NOT_FOUND FunctionDoesNotExist functionName=constructor projectName=${projectName} versionId=${versionId}`,
    ],
  ];
});

table(scene, KEYS, KEYS.methods.createApiKey, () => {
  const bad = (shown: string, rule: string) =>
    `INVALID_ARGUMENT ParameterValidationError display_name: ${shown} ${rule}`;
  const unprintable = "is not made of printable characters";
  return [
    ["nothing", {}, `${bad('""', "has fewer than 1 characters")}; display_name: "" ${unprintable}`],
    ["blanks", { displayName: "   " }, bad('"   "', unprintable)],
    ["a line break", { displayName: "a\nb" }, bad('"a\\nb"', unprintable)],
    ["an escape sequence", { displayName: "\u001b[31mred" }, bad('"\\u001b[31mred"', unprintable)],
    ["a right-to-left override", { displayName: "a\u202eb" }, bad('"a\u202eb"', unprintable)],
    [
      "NUL",
      { displayName: "a\0" },
      `${bad('"a\\u0000"', "holds a NUL character")}; display_name: "a\\u0000" ${unprintable}`,
    ],
    [
      "129 characters",
      { displayName: "k".repeat(129) },
      bad(`"${"k".repeat(100)}"… (129 characters)`, "has more than 128 characters"),
    ],
    ...badNames("projectName", { displayName: "k", role: ApiKeyRole.READ }, true),
    ["an unknown role", { displayName: "k", role: 5 }, badFields("role: 5 is not a role")],
    ["a role below all", { displayName: "k", role: -1 }, badFields("role: -1 is not a role")],
    [
      "ADMIN of one project",
      { displayName: "k", projectName: "mine" },
      badFields('project_name: "mine" cannot be with the role ADMIN, which is for all projects'),
    ],
    ["no life", { displayName: "k", lifetimeMs: 0 }, badFields("lifetime_ms: 0 is below 60000")],
    [
      "a life above ten years",
      { displayName: "k", lifetimeMs: 315_360_000_001 },
      badFields("lifetime_ms: 315360000001 is above 315360000000"),
    ],
  ];
});

table(scene, KEYS, KEYS.methods.listApiKeys, () => badPages());

table(scene, KEYS, KEYS.methods.revokeApiKey, () => [
  ...badIds("keyId", "key"),
  ["an unknown key", { keyId: `key-${UNKNOWN}` }, `NOT_FOUND ApiKeyDoesNotExist keyId=key-${UNKNOWN}`],
]);
