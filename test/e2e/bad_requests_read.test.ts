/** What the calls about invocations, their logs and the workers refuse, each with its reason. */
import { expect, it } from "vitest";
import { Status } from "../../gen/multinode/invocation/v1/invocation.pb.js";
import {
  InvocationServiceDefinition,
  ListInvocationsResponse,
  WatchInvocationsResponse,
} from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { LogServiceDefinition } from "../../gen/multinode/invocation/v1/log_service.pb.js";
import { SchedulerServiceDefinition } from "../../gen/multinode/scheduler/v1/scheduler_service.pb.js";
import { badFields, outcomeOf, summary } from "../harness/raw_call.js";
import type { DeployedProject } from "../harness/target.js";
import { badIds, badNames, badPages, badVersionIds, openScene, type Row, table, UNKNOWN } from "./bad_requests.js";

const SERVICE = InvocationServiceDefinition;
const LOGS = LogServiceDefinition;
const SCHEDULER = SchedulerServiceDefinition;
const MAIN = `
  import { Multinode } from "multinode";
  export const mn = new Multinode();
  export const echo = mn.function({ maxInvocationsPerWorker: Infinity }, (value: unknown) => value);
`;

let project: DeployedProject;
let other: DeployedProject;
/** An invocation of `echo` that is terminated. */
let ended = "";
const scene = openScene(async ({ target }) => {
  project = await target.deploy({ "main.ts": MAIN });
  other = await target.deploy({ "main.ts": MAIN });
  const echo = project.fn("echo");
  for (let i = 0; i < 3; i += 1) ended = await echo.start(i);
  for await (const _ of echo.watch(ended, { until: "terminated" }));
});

const notFound = (id: string) => `NOT_FOUND InvocationDoesNotExist invocationId=${id}`;

/** Rows for a request about one invocation. */
function badInvocation(): Row[] {
  const invocationId = ended;
  return [
    ["no id", {}, badFields('invocation_id: "" is not an identifier: "inv-" and 26 characters')],
    ...badIds("invocationId", "inv"),
    ...badNames("projectName", { invocationId }, true),
    ...badNames("functionName", { invocationId }, true),
    [
      "a bad version",
      { invocationId, versionId: "latest" },
      badFields('version_id: "latest" is not an identifier: "ver-" and 26 characters'),
    ],
    ["an unknown invocation", { invocationId: `inv-${UNKNOWN}` }, notFound(`inv-${UNKNOWN}`)],
    ["an invocation of another project", { invocationId, projectName: other.projectName }, notFound(ended)],
    ["an invocation of another version", { invocationId, versionId: other.versionId }, notFound(ended)],
    ["an invocation of another function", { invocationId, functionName: "other" }, notFound(ended)],
  ];
}

table(scene, SERVICE, SERVICE.methods.getInvocation, badInvocation);

table(scene, SERVICE, SERVICE.methods.cancelInvocation, () => [
  ...badInvocation(),
  [
    "an invocation that is terminated",
    { invocationId: ended },
    `FAILED_PRECONDITION InvocationIsAlreadyTerminated invocationId=${ended}`,
  ],
]);

table(scene, SERVICE, SERVICE.methods.listInvocations, () => {
  const { projectName } = project;
  const badTime = (field: string, value: number, rule: string): Row => [
    `${field} ${value}`,
    { projectName, [field]: value },
    badFields(`${field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}: ${value} ${rule}`),
  ];
  return [
    ...badNames("projectName"),
    ...badNames("functionName", { projectName }, true),
    ...badVersionIds({ projectName }),
    ...badIds("parentInvocationId", "inv", { projectName }),
    ...badPages({ projectName }),
    ["an unknown project", { projectName: "missing" }, "NOT_FOUND ProjectDoesNotExist projectName=missing"],
    ["no status", { projectName, statuses: [Status.UNSPECIFIED] }, badFields("statuses[0]: 0 is not a status")],
    [
      "an unknown status",
      { projectName, statuses: [Status.PENDING, 99] },
      badFields("statuses[1]: 99 is not a status"),
    ],
    ["a status below 0", { projectName, statuses: [-1] }, badFields("statuses[0]: -1 is not a status")],
    [
      "many statuses",
      { projectName, statuses: Array.from({ length: 100 }, () => Status.PENDING) },
      badFields("statuses: a list of 100 has more than 7 items"),
    ],
    badTime("createdFromMs", -1, "is below 0"),
    badTime("createdBeforeMs", -1, "is below 0"),
    ["an offset of 1,001 characters", { projectName, offset: "x".repeat(1_001) }, badOffset(1_001)],
    ["many bad fields", { projectName: "", pageSize: -1, statuses: [0] }, badListing()],
  ];
});

function badOffset(length: number): string {
  return badFields(`offset: "${"x".repeat(100)}"… (${length} characters) has more than 1000 characters`);
}

function badListing(): string {
  return badFields(
    'project_name: "" is not 1 to 64 letters, digits, "-" and "_", beginning with a letter',
    "statuses[0]: 0 is not a status",
    "page_size: -1 is below 0",
  );
}

it("refuses the offset of a listing with other filters", async () => {
  const { projectName } = project;
  const list = async (request: object) => await scene.send(SERVICE, SERVICE.methods.listInvocations, request);
  const first = await list({ projectName, pageSize: 1 });
  const offset = ListInvocationsResponse.decode(first.responses[0] ?? new Uint8Array()).nextOffset;
  expect(summary(await list({ projectName, pageSize: 2, offset }))).toBe("OK");
  for (const filter of [
    { projectName: other.projectName },
    { projectName, functionName: "echo" },
    { projectName, versionId: project.versionId },
    { projectName, statuses: [Status.SUCCEEDED] },
    { projectName, createdFromMs: 1 },
  ]) {
    expect(summary(await list({ ...filter, offset }))).toBe("INVALID_ARGUMENT OffsetIsInvalid");
  }
  const logs = await scene.send(LOGS, LOGS.methods.listLogs, { invocationId: ended, offset });
  expect(summary(logs)).toBe("INVALID_ARGUMENT OffsetIsInvalid");
});

/** Rows for a request for lines. */
function badLogs(): Row[] {
  const invocationId = ended;
  return [
    ...badInvocation(),
    ...badIds("executionId", "exe", { invocationId }),
    [
      "an unknown execution",
      { invocationId, executionId: `exe-${UNKNOWN}` },
      `NOT_FOUND ExecutionDoesNotExist executionId=exe-${UNKNOWN}`,
    ],
  ];
}

table(scene, LOGS, LOGS.methods.listLogs, () => [...badLogs(), ...badPages({ invocationId: ended })]);

table(scene, LOGS, LOGS.methods.followLogs, badLogs);

table(scene, SERVICE, SERVICE.methods.watchInvocations, () => {
  const target = { invocationId: ended };
  const badTarget = (change: object, description: string): Row => [
    `a target with ${JSON.stringify(change)}`,
    { add: [target, { ...target, ...change }] },
    badFields(`add[1].${description}`),
  ];
  const targets = Array.from({ length: 1_001 }, () => target);
  return [
    badTarget({ invocationId: "" }, 'invocation_id: "" is not an identifier: "inv-" and 26 characters'),
    badTarget({ invocationId: "../x" }, 'invocation_id: "../x" is not an identifier: "inv-" and 26 characters'),
    badTarget({ afterRevision: -1 }, "after_revision: -1 is below 0"),
    badTarget({ detail: 3 }, "detail: 3 is above 2"),
    badTarget({ detail: -1 }, "detail: -1 is below 0"),
    badTarget({ until: 3 }, "until: 3 is above 2"),
    ["1,001 targets", { add: targets }, badFields("add: a list of 1001 has more than 1000 items")],
    [
      "1,001 removals",
      { remove: targets.map(({ invocationId }) => invocationId) },
      badFields("remove: a list of 1001 has more than 1000 items"),
    ],
    ["nothing", {}, "OK"],
    ["removals of what is not followed", { remove: ["", "../x", `inv-${UNKNOWN}`] }, "OK"],
    ["1,000 times the same", { add: targets.slice(1) }, "OK"],
    ["a revision that never was", { add: [{ ...target, afterRevision: 2 ** 50 }] }, "OK"],
  ];
});

it("WatchInvocations refuses an unknown invocation alone", async () => {
  const add = [{ invocationId: `inv-${UNKNOWN}` }, { invocationId: ended }];
  const outcome = await scene.send(SERVICE, SERVICE.methods.watchInvocations, { add });
  expect(summary(outcome)).toBe("OK");
  const messages = outcome.responses.map((response) => WatchInvocationsResponse.decode(response));
  const refusals = messages.flatMap((message) => message.refusals);
  expect(refusals.map(({ error }) => error && summary(outcomeOf(error)))).toEqual([notFound(`inv-${UNKNOWN}`)]);
  expect(messages.flatMap((message) => message.invocations.map(({ invocationId }) => invocationId))).toEqual([ended]);
});

table(scene, SCHEDULER, SCHEDULER.methods.drainWorker, () => [
  ["no id", {}, badFields('worker_id: "" is not an identifier: "wrk-" and 26 characters')],
  ...badIds("workerId", "wrk"),
  ["an unknown worker", { workerId: `wrk-${UNKNOWN}` }, `NOT_FOUND WorkerDoesNotExist workerId=wrk-${UNKNOWN}`],
]);
