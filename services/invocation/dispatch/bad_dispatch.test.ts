/** What a scheduler, or a worker behind it, might say that is wrong, late, double or made up: it is refused and changes nothing. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  ExecutionEnded,
  type ExecutionReport,
  type LeasedExecution,
  ExecutionReport as Report,
} from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { type Invocation, Status } from "../../../gen/multinode/invocation/v1/invocation.pb.js";
import { LogLine, LogStream } from "../../../gen/multinode/invocation/v1/log_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { Refusal } from "../../platform/errors.js";
import { openTestInvocations, reports, type TestInvocations } from "../test_invocation.js";

let test: TestInvocations;
let one: string;

beforeEach(async () => {
  test = await openTestInvocations();
  one = test.ids.next("sch");
  test.catalog.add("f");
});
afterEach(() => test.close());

const LEASE_MS = 30_000;

async function leaseOne(schedulerId = one): Promise<LeasedExecution> {
  await test.start("f");
  const [leased] = await test.lease(schedulerId, 1);
  if (leased === undefined) throw new Error("there was nothing to lease");
  return leased;
}

function textOf({ result }: Invocation): string {
  return Buffer.from(result?.data ?? []).toString();
}

async function violations(work: Promise<unknown>): Promise<readonly string[]> {
  const refusal = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(refusal instanceof Refusal) || refusal.reason !== "ParameterValidationError") throw refusal;
  return (refusal.details.violations ?? []).map(({ field, description }) => `${field}: ${description}`);
}

describe("a request of a scheduler", () => {
  it("to lease is refused for each bad field", async () => {
    const good = { schedulerId: one, maxCount: 1, leaseDurationMs: LEASE_MS, excludedQueues: [], waitMs: 0 };
    const refused = async (change: object) => {
      const streamed = await violations(test.leases({ ...good, ...change }).next());
      expect(await violations(test.dispatch.leaseInvocations({ ...good, ...change }))).toEqual(streamed);
      return streamed;
    };
    expect(await violations(test.leases({ ...good, receivedCount: -1 }).next())).toEqual([
      "received_count: -1 is below 0",
    ]);
    for (const schedulerId of ["", "../x", `inv-${"0".repeat(26)}`, "s".repeat(10_000)]) {
      expect(await refused({ schedulerId })).toEqual([
        expect.stringMatching(/^scheduler_id: .* is not an identifier: "sch-" and 26 characters$/),
      ]);
    }
    expect(await refused({ maxCount: -1, leaseDurationMs: 4_999 })).toEqual([
      "max_count: -1 is below 0",
      "lease_duration_ms: 4999 is below 5000",
    ]);
    expect(await refused({ maxCount: 1_001, leaseDurationMs: 300_001 })).toEqual([
      "max_count: 1001 is above 1000",
      "lease_duration_ms: 300001 is above 300000",
    ]);
    expect(await refused({ excludedQueues: Array.from({ length: 10_001 }, () => "p/f") })).toEqual([
      "excluded_queues: a list of 10001 has more than 10000 items",
    ]);
  });

  it("to renew, list or adopt is refused for each bad field", async () => {
    const id = 'scheduler_id: "" is not an identifier: "sch-" and 26 characters';
    const leaseDurationMs = -1;
    const duration = "lease_duration_ms: -1 is below 5000";
    expect(await violations(test.dispatch.renewLeases({ schedulerId: "", leaseDurationMs }))).toEqual([id, duration]);
    expect(await violations(test.dispatch.listLeases({ schedulerId: "" }))).toEqual([id]);
    expect(await violations(test.dispatch.listInterruptions({ schedulerId: "" }))).toEqual([id]);
    const executions = [{ executionToken: "t".repeat(201) }];
    expect(await violations(test.dispatch.adoptExecutions({ schedulerId: "", leaseDurationMs, executions }))).toEqual([
      id,
      duration,
      `executions[0].execution_token: "${"t".repeat(100)}"… (201 characters) has more than 200 characters`,
    ]);
  });
});

describe("a report", () => {
  it("about nothing that there is is refused", async () => {
    const leased = await leaseOne();
    const another = await leaseOne();
    const { executionId = "", invocationId = "", epoch = 0 } = leased.ref ?? {};
    const about = (ref: object | undefined): ExecutionReport =>
      Report.fromPartial({ ref, event: { $case: "released", value: {} } } as Partial<ExecutionReport>);
    expect(
      await test.report(
        about(undefined),
        about({ executionId, epoch, invocationId: "" }),
        about({ executionId, epoch, invocationId: "../x" }),
        about({ executionId, epoch, invocationId: test.ids.next("inv") }),
        about({ executionId: test.ids.next("exe"), epoch, invocationId }),
        about({ executionId: another.ref?.executionId ?? "", epoch, invocationId }),
        about({ executionId: "", epoch, invocationId }),
      ),
    ).toEqual([...Array(4).fill("ExecutionDoesNotExist"), ...Array(3).fill("ExecutionIsNotCurrent")]);
    expect((await test.get(invocationId)).status).toBe(Status.PENDING);
  });

  it("with another epoch is refused", async () => {
    const { ref } = await leaseOne();
    if (ref === undefined) throw new Error("the execution has no reference");
    const stale = [0, -1, ref.epoch - 1, ref.epoch + 1, 2 ** 50].map((epoch) => ({ ref: { ...ref, epoch } }));
    const answers = await test.report(
      ...stale.map((leased) => reports.started(leased)),
      ...stale.map((leased) => reports.returned(leased, "forged")),
      ...stale.map((leased) => reports.released(leased)),
    );
    expect(new Set(answers)).toEqual(new Set(["ExecutionIsNotCurrent"]));
    expect(await test.get(ref.invocationId)).toMatchObject({ status: Status.PENDING, result: undefined });
  });

  it("without an event changes nothing", async () => {
    const { ref } = await leaseOne();
    expect(await test.report({ ref, event: undefined })).toEqual([undefined]);
    expect((await test.get(ref?.invocationId ?? "")).status).toBe(Status.PENDING);
  });

  it("that comes after the end is refused, and the first result stands", async () => {
    const leased = await leaseOne();
    const invocationId = leased.ref?.invocationId ?? "";
    expect(await test.report(reports.started(leased), reports.returned(leased, 1))).toEqual([undefined, undefined]);
    const late = [
      reports.started(leased),
      reports.yielded(leased, 99, "late"),
      reports.returned(leased, 1),
      reports.returned(leased, 2),
      reports.threw(leased),
    ];
    expect(await test.report(...late)).toEqual(late.map(() => "ExecutionHasAlreadyFinished"));
    const invocation = await test.get(invocationId);
    expect(invocation).toMatchObject({ status: Status.SUCCEEDED, error: "", numFailedAttempts: 0 });
    expect(textOf(invocation)).toBe("1");
  });

  it("of an end without a result, or of an error without a text, is a failure", async () => {
    const first = await leaseOne();
    const second = await leaseOne();
    const ended: ExecutionReport = { ref: first.ref, event: { $case: "ended", value: ExecutionEnded.fromPartial({}) } };
    expect(await test.report(ended, reports.threw(second, { error: "" }))).toEqual([undefined, undefined]);
    for (const { ref } of [first, second]) {
      expect(await test.get(ref?.invocationId ?? "")).toMatchObject({
        status: Status.FAILED,
        error: "Error: (no message)",
      });
    }
  });

  it("of a value that comes twice, or late, changes nothing", async () => {
    const leased = await leaseOne();
    await test.report(reports.started(leased), reports.yielded(leased, 5, "five"));
    const before = await test.get(leased.ref?.invocationId ?? "");
    for (const index of [5, 4, 0, -1]) await test.report(reports.yielded(leased, index, "wrong"));
    expect(await test.get(leased.ref?.invocationId ?? "")).toEqual(before);
    expect(textOf(before)).toBe('"five"');
  });

  it("of an error keeps its text as it is", async () => {
    const leased = await leaseOne();
    const error = 'Error: \u001b[31mred\u001b[0m\n{"level":"error","msg":"forged"}\0end';
    await test.report(reports.threw(leased, { error }));
    expect((await test.get(leased.ref?.invocationId ?? "")).error).toBe(error.replace("\0", "\uFFFD"));
  });

  it("among more than 5,000 is refused", async () => {
    const many = Array.from({ length: 5_001 }, () => Report.fromPartial({}));
    expect(await violations(test.dispatch.reportExecutions({ reports: many }))).toEqual([
      "reports: has more than 5000 items",
    ]);
  });
});

describe("the token of an execution", () => {
  it("that is forged, foreign or dead adopts nothing", async () => {
    const leased = await leaseOne();
    const dead = await leaseOne();
    await test.report(reports.returned(dead, 1, true));
    const { executionToken } = leased;
    const executions = [
      "",
      "../x",
      executionToken.slice(0, -1),
      executionToken.replace(/.{4}$/, "AAAA"),
      executionToken.slice(0, 30) + dead.executionToken.slice(30),
      dead.executionToken,
    ].map((token) => ({ executionToken: token }));
    const other = test.ids.next("sch");
    const request = { schedulerId: other, leaseDurationMs: LEASE_MS, executions };
    expect((await test.dispatch.adoptExecutions(request)).executions).toEqual([]);
    expect(await test.report(reports.returned(leased, 1))).toEqual([undefined]);
  });
});

describe("lines", () => {
  const line = (executionId: string, change: Partial<LogLine>): LogLine =>
    LogLine.fromPartial({ executionId, lineNumber: 1, timeMs: 1, stream: LogStream.STDOUT, text: "text", ...change });

  async function stored(invocationId: string): Promise<readonly LogLine[]> {
    const listed: LogLine[] = [];
    const request = { invocationId, executionId: "", projectName: "", functionName: "", versionId: "" };
    const call = { signal: AbortSignal.timeout(5_000), principal: { kind: "key", keyId: "", projectName: "" } };
    const { lines = [] } = await test.service.logs.listLogs({ ...request, pageSize: 0, offset: "" }, call as never);
    for (const one of lines) listed.push(LogLine.fromPartial(one));
    return listed;
  }

  it("with bad numbers are dropped, and bad texts are mended", async () => {
    const { ref } = await leaseOne();
    const { executionId = "", invocationId = "" } = ref ?? {};
    await test.dispatch.appendLogs({
      lines: [
        line(executionId, { lineNumber: 0 }),
        line(executionId, { lineNumber: -1 }),
        line(executionId, { lineNumber: 2 ** 50 }),
        line(executionId, { lineNumber: 1, text: '\u001b[31m{"level":"error"}\0' }),
        line(executionId, { lineNumber: 1, text: "twice" }),
        line(executionId, { lineNumber: 2, text: "x".repeat(LIMITS.logLineLength + 1) }),
        line(executionId, { lineNumber: 3, stream: LogStream.LOGGER, level: "l".repeat(1_000_000) }),
        line(executionId, { lineNumber: 4, stream: LogStream.LOGGER, level: "warn" }),
        line(test.ids.next("exe"), { text: "of nobody" }),
      ],
    });
    const lines = await stored(invocationId);
    expect(lines.map(({ lineNumber, text, level }) => [lineNumber, text.length, level])).toEqual([
      [1, 23, ""],
      [2, LIMITS.logLineLength, ""],
      [3, 4, ""],
      [4, 4, "warn"],
    ]);
    expect(lines[0]?.text).toBe('\u001b[31m{"level":"error"}\uFFFD');
  });

  it("are one line each, of a stream that there is", async () => {
    const { ref } = await leaseOne();
    const { executionId = "", invocationId = "" } = ref ?? {};
    const streams = [LogStream.UNSPECIFIED, 7 as LogStream, LogStream.STDERR, LogStream.SYSTEM];
    await test.dispatch.appendLogs({
      lines: streams.map((stream, index) => line(executionId, { lineNumber: index + 1, stream, text: "a\nb\r\nc\rd" })),
    });
    const lines = await stored(invocationId);
    const { STDOUT, STDERR, SYSTEM } = LogStream;
    expect(lines.map(({ stream }) => stream)).toEqual([STDOUT, STDOUT, STDERR, SYSTEM]);
    expect(new Set(lines.map(({ text }) => text))).toEqual(new Set(["a\uFFFDb\uFFFDc\rd"]));
  });

  it("among more than 10,000 are refused", async () => {
    const lines = Array.from({ length: 10_001 }, () => line("", {}));
    expect(await violations(test.dispatch.appendLogs({ lines }))).toEqual(["lines: has more than 10000 items"]);
  });
});
