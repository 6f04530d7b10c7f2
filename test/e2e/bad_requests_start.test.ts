/** What StartInvocation and BatchStartInvocations refuse, each with its reason. */
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { expect, it } from "vitest";
import {
  BatchStartInvocationsResponse,
  InvocationServiceDefinition,
} from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { badFields, outcomeOf, pathOf, summary } from "../harness/raw_call.js";
import type { DeployedProject } from "../harness/target.js";
import { badNames, badVersionIds, openScene, type Row, table, UNKNOWN } from "./bad_requests.js";

const SERVICE = InvocationServiceDefinition;
const { startInvocation, batchStartInvocations, streamStartInvocations } = SERVICE.methods;

let project: DeployedProject;
let other: DeployedProject;
/** An invocation that is terminated. */
let ended = "";
const scene = openScene(async ({ target }) => {
  project = await target.deploy({
    "main.ts": `
      import { Multinode } from "multinode";
      import { z } from "zod";
      export const mn = new Multinode();
      export const echo = mn.function(
        { maxInvocationsPerWorker: Infinity },
        (value: unknown) => (value === undefined ? "nothing" : typeof value),
      );
      export const typed = mn.function(
        { input: z.tuple([z.object({ name: z.string().max(3), size: z.int().optional() })]) },
        (value) => value.name,
      );
    `,
  });
  other = await target.deploy({ "main.ts": "export { mn, f } from './f.js';", "f.ts": F });
  ended = await project.fn("echo").start(1);
  await project.fn("echo").awaitResult(ended);
});
const F = `
  import { Multinode } from "multinode";
  export const mn = new Multinode();
  export const f = mn.function(() => 1);
`;

function request(changes: object = {}): object {
  return { projectName: project.projectName, functionName: "echo", ...changes };
}

function payload(text: string | Uint8Array, contentType = "application/json"): object {
  return { contentType, data: Buffer.from(text) };
}

function positional(text: string | Uint8Array, contentType?: string): object {
  return request({ arguments: { positional: payload(text, contentType) } });
}

function named(text: string | Uint8Array, contentType?: string): object {
  return request({ arguments: { named: payload(text, contentType) } });
}

function typed(text: string): object {
  return { ...positional(text), functionName: "typed" };
}

function badInput(...violations: readonly string[]): string {
  return `INVALID_ARGUMENT FunctionInputIsInvalid ${violations.join("; ")}`;
}

function badTtl(ttlMs: number): Row {
  return [`ttl ${ttlMs}`, request({ ttlMs }), badFields(`ttl_ms: ${ttlMs} is not from 1 to ${LIMITS.ttlMs}`)];
}

const notAList = badFields("arguments.positional: is not a list in JSON");
const notAnObject = badFields("arguments.named: is not an object in JSON");

table(
  scene,
  SERVICE,
  startInvocation,
  () => [
    ...badNames("projectName", request()),
    ...badNames("functionName", request()),
    ...badVersionIds(request()),
    ["a byte order mark before the arguments", positional(Buffer.from("\ufeff[1]")), notAList],
    ["an unknown project", request({ projectName: "missing" }), "NOT_FOUND ProjectDoesNotExist projectName=missing"],
    [
      "an unknown version",
      request({ versionId: `ver-${UNKNOWN}` }),
      `NOT_FOUND VersionDoesNotExist projectName=${project.projectName} versionId=ver-${UNKNOWN}`,
    ],
    [
      "a version of another project",
      request({ versionId: other.versionId }),
      `NOT_FOUND VersionDoesNotExist projectName=${project.projectName} versionId=${other.versionId}`,
    ],
    [
      "an unknown function",
      request({ functionName: "missing" }),
      `NOT_FOUND FunctionDoesNotExist functionName=missing projectName=${project.projectName} versionId=`,
    ],
    [
      "a bad parent",
      request({ parentInvocationId: "../x" }),
      badFields('parent_invocation_id: "../x" is not an identifier: "inv-" and 26 characters'),
    ],
    [
      "an unknown parent",
      request({ parentInvocationId: `inv-${UNKNOWN}` }),
      `NOT_FOUND ParentInvocationDoesNotExist invocationId=inv-${UNKNOWN}`,
    ],
    [
      "a parent of another project",
      { projectName: other.projectName, functionName: "f", parentInvocationId: ended },
      `NOT_FOUND ParentInvocationDoesNotExist invocationId=${ended}`,
    ],
    [
      "a parent that has ended",
      request({ parentInvocationId: ended }),
      `FAILED_PRECONDITION InvocationIsAlreadyTerminated invocationId=${ended}`,
    ],
    [
      "an idempotency key of 129 characters",
      request({ idempotencyKey: "k".repeat(129) }),
      badFields(`idempotency_key: "${"k".repeat(100)}"… (129 characters) has more than 128 characters`),
    ],
    [
      "an idempotency key with NUL",
      request({ idempotencyKey: "\0" }),
      badFields('idempotency_key: "\\u0000" holds a NUL character or half of a surrogate pair'),
    ],
    badTtl(0),
    badTtl(-1),
    badTtl(LIMITS.ttlMs + 1),
    [
      "many bad fields",
      { projectName: "a b", functionName: "", ttlMs: 0 },
      badFields(
        'project_name: "a b" is not 1 to 64 letters, digits, "-" and "_", beginning with a letter',
        'function_name: "" is not 1 to 128 letters, digits, "-" and "_", beginning with a letter',
        `ttl_ms: 0 is not from 1 to ${LIMITS.ttlMs}`,
      ),
    ],
  ],
  "bad names and options",
);

table(
  scene,
  SERVICE,
  startInvocation,
  () => [
    ["positional arguments that are empty", positional(""), notAList],
    ["positional arguments that are not JSON", positional("[1,"), notAList],
    ["positional arguments that are an object", positional('{"0":1}'), notAList],
    ["positional arguments with NaN", positional("[NaN]"), notAList],
    ["positional arguments that are not UTF-8", positional(Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d])), notAList],
    ["named arguments that are a list", named("[1]"), notAnObject],
    ["named arguments that are null", named("null"), notAnObject],
    [
      "named arguments in CBOR that are a list",
      named(Buffer.from([0x80]), "application/cbor"),
      badCbor("named", "an object"),
    ],
    ["no CBOR", positional("", "application/cbor"), badCbor("positional", "a list")],
    ["CBOR that is a number", positional(Buffer.from([0x01]), "application/cbor"), badCbor("positional", "a list")],
    [
      "another content type",
      positional("<x/>", "text/xml"),
      badFields('arguments.positional.content_type: "text/xml" is not one of application/json, application/cbor'),
    ],
    [
      "arguments above the limit",
      request({
        arguments: {
          positional: payload(`["${"x".repeat(200_000)}"]`),
          named: payload(`{"y":"${"y".repeat(50_000)}"}`),
        },
      }),
      "INVALID_ARGUMENT FunctionInputSizeLimitExceeded limit=250000 size=250012",
    ],
    [
      "no arguments for a schema",
      { ...request(), functionName: "typed" },
      badInput("arguments: a list of 0 must NOT have fewer than 1 items"),
    ],
    [
      "too many arguments for a schema",
      typed('[{"name":"a"},1]'),
      badInput("arguments: a list of 2 must NOT have more than 1 items"),
    ],
    ["a wrong type for a schema", typed('[{"name":1}]'), badInput("arguments[0].name: 1 must be string")],
    [
      "two wrong fields for a schema",
      typed('[{"name":"abcd","size":1.5}]'),
      badInput(
        'arguments[0].name: "abcd" must NOT have more than 3 characters',
        "arguments[0].size: 1.5 must be integer",
      ),
    ],
    [
      "a prototype for a schema",
      typed('[{"__proto__":{"name":"a"}}]'),
      badInput("arguments[0]: must have required property 'name'"),
    ],
    [
      "100,000 levels for a schema",
      typed(`${"[".repeat(100_000)}${"]".repeat(100_000)}`),
      badInput("arguments[0]: a list of 1 must be object"),
    ],
  ],
  "bad arguments",
);

function badCbor(field: string, what: string): string {
  return badFields(`arguments.${field}: is not ${what} in CBOR`);
}

it("refuses what is larger than a number of JavaScript holds", async () => {
  for (const text of ["9223372036854775807", "-9223372036854775808"]) {
    const ttlMs = new BinaryWriter()
      .uint32(7 * 8)
      .int64(text)
      .finish();
    const outcome = await scene.sendBytes(pathOf(SERVICE, startInvocation), [ttlMs]);
    const bound = text.startsWith("-") ? "smaller than Number.MIN_SAFE_INTEGER" : "larger than Number.MAX_SAFE_INTEGER";
    expect(summary(outcome)).toBe(badFields(`request: is not a well-formed message: Value is ${bound}`));
  }
});

it("stores what is deep, large or odd, and its function lives or fails alone", async () => {
  const start = async (message: object): Promise<string> => {
    const outcome = await scene.send(SERVICE, startInvocation, message);
    expect(summary(outcome)).toBe("OK");
    return Buffer.from(outcome.responses[0] ?? [])
      .subarray(2)
      .toString();
  };
  const echo = project.fn("echo");
  const exact = await start(positional(`["${"x".repeat(LIMITS.payloadBytes - 4)}"]`));
  expect(await echo.awaitResult(exact)).toBe("string");
  const prototype = await start(positional('[{"__proto__":{"toString":1},"constructor":2}]'));
  expect(await echo.awaitResult(prototype)).toBe("object");
  const emoji = await start(request({ idempotencyKey: "🗝️", ...positional('["🎉"]') }));
  expect(await echo.awaitResult(emoji)).toBe("string");
  const deep = await start(positional(`${"[".repeat(100_000)}${"]".repeat(100_000)}`));
  await echo.awaitResult(deep).catch(() => {});
  expect((await echo.get(deep)).status).toMatch(/SUCCEEDED|FAILED/);
  const broken = await start(positional(Buffer.from([0x9f, 0x01]), "application/cbor"));
  await expect(echo.awaitResult(broken)).rejects.toThrow(/cannot be decoded|CBOR|data/i);
  expect(await scene.goodCall()).toBe("OK");
});

table(scene, SERVICE, batchStartInvocations, () => [
  ["nothing", {}, badFields("requests: 0 items is not from 1 to 1000")],
  [
    "1,001 starts",
    { requests: Array.from({ length: 1_001 }, () => request()) },
    badFields("requests: 1001 items is not from 1 to 1000"),
  ],
  [
    "more than 4 MiB of arguments in all",
    { requests: Array.from({ length: 17 }, () => positional(`["${"x".repeat(249_996)}"]`)) },
    badFields("requests: 4250000 bytes of arguments in all is above 4194304: send several batches"),
  ],
  [
    "a request id of 129 characters",
    { requests: [request()], requestId: "r".repeat(129) },
    badFields(`request_id: "${"r".repeat(100)}"… (129 characters) has more than 128 characters`),
  ],
  [
    "a request id with NUL",
    { requests: [request()], requestId: "\0" },
    badFields('request_id: "\\u0000" holds a NUL character'),
  ],
]);

it("StreamStartInvocations ends with the batch that it refuses", async () => {
  const good = { batch: { requests: [request()] } };
  const stream = async (...messages: object[]) => await scene.send(SERVICE, streamStartInvocations, messages);
  expect(summary(await stream({}))).toBe(badFields("batch: is required"));
  const refused = await stream(good, { batch: { requests: [] } });
  expect(summary(refused)).toBe(badFields("requests: 0 items is not from 1 to 1000"));
  expect(refused.responses).toHaveLength(1);
  expect(summary(await stream())).toBe("OK");
  expect(summary(await stream(good, good))).toBe("OK");
});

it("BatchStartInvocations refuses each start alone", async () => {
  const idempotencyKey = crypto.randomUUID();
  const requests = [
    request({ idempotencyKey }),
    request({ functionName: "" }),
    { ...positional("[2]"), idempotencyKey },
    request({ projectName: "missing" }),
    typed("[7]"),
    request({ arguments: { named: payload("1") } }),
    request({ idempotencyKey }),
  ];
  const outcome = await scene.send(SERVICE, batchStartInvocations, { requests });
  expect(summary(outcome)).toBe("OK");
  const { outcomes } = BatchStartInvocationsResponse.decode(outcome.responses[0] ?? new Uint8Array());
  const started = outcomes[0]?.outcome?.$case === "invocationId" ? outcomes[0].outcome.value : "";
  const told = outcomes.map(({ outcome: one }) =>
    one?.$case === "error" ? summary(outcomeOf(one.value)) : one?.value,
  );
  expect(told).toEqual([
    started,
    badFields('function_name: "" is not 1 to 128 letters, digits, "-" and "_", beginning with a letter'),
    `ALREADY_EXISTS IdempotencyKeyReused idempotencyKey=${idempotencyKey} invocationId=${started}`,
    "NOT_FOUND ProjectDoesNotExist projectName=missing",
    badInput("arguments[0]: 7 must be object"),
    notAnObject,
    started,
  ]);

  const requestId = crypto.randomUUID();
  const once = await scene.send(SERVICE, batchStartInvocations, { requests: [request()], requestId });
  const changed = await scene.send(SERVICE, batchStartInvocations, { requests: [positional("[1]")], requestId });
  expect([summary(once), summary(changed)]).toEqual([
    "OK",
    `ALREADY_EXISTS IdempotencyKeyReused idempotencyKey=${requestId}`,
  ]);
});
