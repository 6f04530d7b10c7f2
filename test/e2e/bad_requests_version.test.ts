/** What CreateVersion refuses, each with the field, the value and the bound; and that a refused one changes nothing. */
import { expect, it } from "vitest";
import {
  GetProjectResponse,
  GetVersionResponse,
  ProjectPolicy,
  RegistryServiceDefinition,
} from "../../gen/multinode/registry/v1/registry_service.pb.js";
import { badFields, summary } from "../harness/raw_call.js";
import type { DeployedProject } from "../harness/target.js";
import { badNames, openScene, type Row, table } from "./bad_requests.js";

const REGISTRY = RegistryServiceDefinition;
const { createVersion } = REGISTRY.methods;
const GIB = 1024 ** 3;

let project: DeployedProject;
let digest = "";
const scene = openScene(async (opened) => {
  project = await opened.target.deploy({
    "main.ts": `
      import { Multinode } from "multinode";
      export const mn = new Multinode();
      export const f = mn.function(() => 1);
    `,
  });
  const { projectName } = project;
  const got = await opened.send(REGISTRY, REGISTRY.methods.getVersion, { projectName });
  const { version } = GetVersionResponse.decode(got.responses[0] ?? new Uint8Array());
  digest = version?.code?.source?.$case === "bundle" ? version.code.source.value.digest : "";
});

interface Changes {
  readonly projectName?: string;
  readonly code?: object | undefined;
  readonly functions?: readonly object[];
  readonly projectPolicy?: number;
  readonly requestId?: string;
}

/** A request that is good but for these changes. */
function request(changes: Changes): object {
  const { projectName } = project;
  const code = bundle(digest);
  return { projectName, code, functions: [{ functionName: "f" }], projectPolicy: ProjectPolicy.MUST_EXIST, ...changes };
}

function bundle(ofDigest: string, environment: Record<string, string> = {}): object {
  return { source: { $case: "bundle", value: { digest: ofDigest } }, environment };
}

function image(reference: string): object {
  return { source: { $case: "image", value: { image: reference } }, environment: {} };
}

function withEnvironment(environment: Record<string, string>): object {
  return request({ code: bundle(digest, environment) });
}

function withOptions(options: object): object {
  return request({ functions: [{ functionName: "f", options }] });
}

function badSchema(name: string, schema: string, description: string): Row {
  const shown =
    schema.length <= 100
      ? JSON.stringify(schema)
      : `${JSON.stringify(schema.slice(0, 100))}… (${schema.length} characters)`;
  return [
    name,
    request({
      functions: [
        { functionName: "f", inputSchema: schema },
        { functionName: "g", outputSchema: schema },
      ],
    }),
    badFields(
      `functions[0].input_schema: ${shown} ${description}`,
      `functions[1].output_schema: ${shown} ${description}`,
    ),
  ];
}

/** Rows for one option, from bad values to what their descriptions say. */
function badOption(name: string, cases: Readonly<Record<string, string>>): Row[] {
  const field = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.entries(cases).map(([value, description]) => [
    `${name} ${value}`,
    withOptions({ [name]: Number(value) }),
    badFields(`functions[0].options.${field}: ${value} ${description}`),
  ]);
}

function badDelay(delay: object, field: string, description: string): Row {
  return [
    `retryDelay ${JSON.stringify(delay)}`,
    withOptions({ retryDelay: { initialMs: 10, ...delay } }),
    badFields(`functions[0].options.retry_delay.${field}: ${description}`),
  ];
}

table(
  scene,
  REGISTRY,
  createVersion,
  () => [
    ["nothing at all", {}, badFieldsOfNothing()],
    ...badNames("projectName", request({})),
    ["no code", request({ code: undefined }), badFields("code: is required")],
    ["code without a source", request({ code: { environment: {} } }), badFields("code.source: is required")],
    ...["", "x", digest.toUpperCase(), `${digest}0`, "../../etc/passwd"].map((bad): Row => {
      const rule = "is not a SHA-256: 64 lower-case hexadecimal digits";
      return [`digest ${bad}`, request({ code: bundle(bad) }), badFields(`code.bundle.digest: "${bad}" ${rule}`)];
    }),
    [
      "a bundle that was not uploaded",
      request({ code: bundle("0".repeat(64)) }),
      `NOT_FOUND BundleDoesNotExist digest=${"0".repeat(64)}`,
    ],
    ...["", "app:1", "-v/:/host"].map((reference): Row => {
      const rule =
        "is refused, since code comes as a bundle only: for an image of its own deploy a folder with a Dockerfile";
      return [
        `image ${reference}`,
        request({ code: image(reference) }),
        badFields(`code.image.image: "${reference}" ${rule}`),
      ];
    }),
    ["an unknown project", request({ projectName: "missing" }), "NOT_FOUND ProjectDoesNotExist projectName=missing"],
    [
      "a project that must be new",
      request({ projectPolicy: ProjectPolicy.MUST_BE_NEW }),
      `ALREADY_EXISTS ProjectAlreadyExists projectName=${project.projectName}`,
    ],
    ["an unknown policy", request({ projectPolicy: 4 }), badFields("project_policy: 4 is not a policy")],
    ["a policy below 0", request({ projectPolicy: -1 }), badFields("project_policy: -1 is not a policy")],
    [
      "a request id of 129 characters",
      request({ requestId: "r".repeat(129) }),
      badFields(`request_id: "${"r".repeat(100)}"… (129 characters) has more than 128 characters`),
    ],
    ["a request id with NUL", request({ requestId: "\0" }), badFields('request_id: "\\u0000" holds a NUL character')],
  ],
  "bad names, code and policies",
);

function badFieldsOfNothing(): string {
  return badFields(
    'project_name: "" is not 1 to 64 letters, digits, "-" and "_", beginning with a letter',
    "code: is required",
    "functions: a list of 0 has fewer than 1 items",
  );
}

table(
  scene,
  REGISTRY,
  createVersion,
  () => [
    [
      "a variable with a bad name",
      withEnvironment({ "A-B": "secret" }),
      badFields('code.environment["A-B"]: the name is not made of letters, digits and "_"'),
    ],
    [
      "a variable without a name",
      withEnvironment({ "": "secret" }),
      badFields('code.environment[""]: the name is not made of letters, digits and "_"'),
    ],
    [
      "a variable that holds NUL",
      withEnvironment({ A: "sec\0ret" }),
      badFields('code.environment["A"]: the value holds a NUL character'),
    ],
    [
      "501 variables",
      withEnvironment(Object.fromEntries(Array.from({ length: 501 }, (_, index) => [`V${index}`, ""]))),
      badFields("code.environment: 501 variables are more than 500"),
    ],
    [
      "100,001 bytes of variables",
      withEnvironment({ A: "s".repeat(100_000) }),
      badFields("code.environment: names and values have 100001 bytes, which is above 100000"),
    ],
    ["no functions", request({ functions: [] }), badFields("functions: a list of 0 has fewer than 1 items")],
    [
      "501 functions",
      request({ functions: Array.from({ length: 501 }, (_, index) => ({ functionName: `f${index}` })) }),
      badFields("functions: a list of 501 has more than 500 items"),
    ],
    [
      "two functions of one name",
      request({ functions: [{ functionName: "f" }, { functionName: "g" }, { functionName: "f" }] }),
      badFields('functions[2].function_name: "f" is the name of functions[0] too'),
    ],
    [
      "a function without a name",
      request({ functions: [{}] }),
      badFields('functions[0].function_name: "" is not 1 to 128 letters, digits, "-" and "_", beginning with a letter'),
    ],
    badSchema("a schema that is not JSON", "{", "is not JSON"),
    badSchema("a schema that is a list", "[]", "is not a JSON Schema: it must be an object or a boolean"),
    badSchema(
      "a schema with a bad type",
      '{"type":"thing"}',
      "is not a JSON Schema: schema is invalid: data/type must be equal to one of the allowed values, " +
        "data/type must be array, data/type must match a schema in anyOf",
    ),
    badSchema(
      "a schema with a bad pattern",
      '{"pattern":"("}',
      "is not a JSON Schema: Invalid regular expression: /(/: Unterminated group",
    ),
    badSchema(
      "a schema that is elsewhere",
      '{"$ref":"http://example.com/x"}',
      "is not a JSON Schema: can't resolve reference http://example.com/x from id #",
    ),
    badSchema(
      "a schema of 12,000 levels",
      `${'{"not":'.repeat(12_000)}{}${"}".repeat(12_000)}`,
      "is not a JSON Schema that can be compiled: it is too large, or too deep",
    ),
    badSchema("a schema above the limit", `{"title":"${"x".repeat(100_000)}"}`, "has more than 100000 bytes"),
  ],
  "bad environments, functions and schemas",
);

table(
  scene,
  REGISTRY,
  createVersion,
  () => [
    ...badOption("cpu", {
      "0": "is not above 0",
      "-1": "is not above 0",
      "16.5": "is above 16",
      NaN: "is not a finite number",
      Infinity: "is not a finite number",
    }),
    ...badOption("memoryBytes", { "0": "is below 1", "-1": "is below 1" }),
    ...badOption("memoryBytes", { [String(64 * GIB + 1)]: `is above ${64 * GIB}` }),
    ...badOption("timeoutMs", { "0": "is below 1", "-1": "is below 1", "86400001": "is above 86400000" }),
    ...badOption("maxConcurrency", { "0": "is below 1", "1001": "is above 1000", "2147483647": "is above 1000" }),
    ...badOption("maxRetries", { "-1": "is below 0", "51": "is above 50" }),
    ...badOption("gracePeriodMs", { "-1": "is below 0", "600001": "is above 600000" }),
    ...badOption("maxInvocationsPerWorker", { "-1": "is below 0", "1000000001": "is above 1000000000" }),
    ...badOption("minWorkers", { "-1": "is below 0", "101": "is above 100" }),
    ...badOption("idleTimeoutMs", { "-1": "is below 0", "3600001": "is above 3600000" }),
    ...badOption("workerConcurrency", {
      "0": "is below 1",
      "2": "is above 1, which needs max_invocations_per_worker other than 1",
    }),
    badDelay({ initialMs: -1 }, "initial_ms", "-1 is below 0"),
    badDelay({ initialMs: 86_400_001 }, "initial_ms", "86400001 is above 86400000"),
    badDelay({ factor: 0.5 }, "factor", "0.5 is below 1"),
    badDelay({ factor: NaN }, "factor", "NaN is not a finite number"),
    badDelay({ factor: 101 }, "factor", "101 is above 100"),
    badDelay({ ceilingMs: 9 }, "ceiling_ms", "9 is below initial_ms, 10"),
    badDelay({ ceilingMs: 86_400_001 }, "ceiling_ms", "86400001 is above 86400000"),
    badDelay({ jitter: 1.1 }, "jitter", "1.1 is above 1"),
    badDelay({ jitter: -0.1 }, "jitter", "-0.1 is below 0"),
    [
      "several bad options",
      request({
        functions: [
          { functionName: "f", options: { cpu: 17 } },
          { functionName: "g", options: { maxRetries: 51, timeoutMs: 0 } },
        ],
      }),
      badFields(
        "functions[0].options.cpu: 17 is above 16",
        "functions[1].options.timeout_ms: 0 is below 1",
        "functions[1].options.max_retries: 51 is above 50",
      ),
    ],
  ],
  "bad options",
);

it("leaves the project as it was, and honours a request id once", async () => {
  const { projectName, versionId } = project;
  const got = await scene.send(REGISTRY, REGISTRY.methods.getProject, { projectName });
  expect(GetProjectResponse.decode(got.responses[0] ?? new Uint8Array()).project?.latestVersionId).toBe(versionId);

  const first = await scene.send(REGISTRY, createVersion, request({ requestId: "once" }));
  expect(summary(first)).toBe("OK");
  const again = await scene.send(REGISTRY, createVersion, request({ requestId: "once" }));
  expect(again.responses).toEqual(first.responses);
  const other = await scene.send(
    REGISTRY,
    createVersion,
    request({ requestId: "once", functions: [{ functionName: "g" }] }),
  );
  expect(`${other.code} ${other.reason}`).toBe("ALREADY_EXISTS VersionAlreadyExists");
});

it("takes a variable called __proto__ for nothing but a name", async () => {
  const environment = JSON.parse('{"__proto__":"x","constructor":"y"}') as Record<string, string>;
  const answer = await scene.send(REGISTRY, createVersion, withEnvironment(environment));
  expect(summary(answer)).toBe("OK");
  const clean = await scene.send(REGISTRY, createVersion, withEnvironment({ A: "1" }));
  const { version } = GetVersionResponse.decode(clean.responses[0] ?? new Uint8Array());
  expect(version?.code?.environment).toEqual({ A: "" });
});
