import { beforeEach, describe, expect, it, vi } from "vitest";
import {
  AppendLogsRequest,
  type DispatchServiceClient,
  type ExecutionReport,
  ReportExecutionsRequest,
} from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { type LogLine, LogStream } from "../../../gen/multinode/invocation/v1/log_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { createLogger } from "../../platform/log.js";
import { Reporter } from "./reporter.js";

type Sent = { reports: readonly ExecutionReport[] } | { lines: readonly LogLine[] };

let sent: Sent[];
let failures: number;
let refuse: (index: number) => string | undefined;
let reporter: Reporter;

beforeEach(() => {
  sent = [];
  failures = 0;
  refuse = () => undefined;
  const take = (message: Sent) => {
    if (bytesOf(message) > LIMITS.messageBytes) throw new Error("Attempted to send message with a size too large");
    if (failures-- > 0) throw new Error("not now");
    sent.push(message);
  };
  const dispatch: Pick<DispatchServiceClient, "reportExecutions" | "appendLogs"> = {
    reportExecutions: async ({ reports = [] }) => {
      take({ reports: reports as ExecutionReport[] });
      const refusals = reports.map((_, index) => ({ index, executionId: "", reason: refuse(index) ?? "" }));
      return { refusals: refusals.filter(({ reason }) => reason !== "") };
    },
    appendLogs: async ({ lines = [] }) => {
      take({ lines: lines as LogLine[] });
      return {};
    },
  };
  reporter = new Reporter(dispatch, createLogger("test", "silent"));
});

const bytesOf = (message: Sent) =>
  "reports" in message
    ? ReportExecutionsRequest.encode({ reports: [...message.reports] }).finish().byteLength
    : AppendLogsRequest.encode({ lines: [...message.lines] }).finish().byteLength;
const reportOf = (executionId: string, bytes = 0): ExecutionReport => ({
  ref: { executionId, epoch: 1, invocationId: "inv" },
  event: {
    $case: "yielded",
    value: { index: 1, value: { contentType: "", data: new Uint8Array(bytes) } },
  },
});
const lineOf = (lineNumber: number, text: string): LogLine => ({
  executionId: "exe",
  lineNumber,
  timeMs: 1,
  stream: LogStream.STDOUT,
  text,
  level: "",
});
const namesOf = (message: Sent | undefined) =>
  message !== undefined && "reports" in message ? message.reports.map(({ ref }) => ref?.executionId) : undefined;
const drained = () => reporter.drain(AbortSignal.timeout(10_000));

describe("reports", () => {
  it("of one turn go together, in their order", async () => {
    for (const name of ["a", "b", "c"]) reporter.report(reportOf(name), () => {});
    await drained();
    expect(sent.map(namesOf)).toEqual([["a", "b", "c"]]);
  });

  it("are settled when they are stored, each with its own refusal", async () => {
    refuse = (index) => (index === 1 ? "ExecutionIsNotCurrent" : undefined);
    const settled: (string | undefined)[] = [];
    for (const name of ["a", "b"]) reporter.report(reportOf(name), (refusal) => settled.push(refusal));
    expect(settled).toEqual([]);
    await drained();
    expect(settled).toEqual([undefined, "ExecutionIsNotCurrent"]);
  });

  it("are sent again until they are taken, before those that come after them", async () => {
    failures = 2;
    const settled = vi.fn();
    reporter.report(reportOf("a"), settled);
    await new Promise((resolve) => setImmediate(resolve));
    reporter.report(reportOf("b"), settled);
    expect(settled).not.toHaveBeenCalled();
    await drained();
    expect(sent.map(namesOf)).toEqual([["a"], ["b"]]);
    expect(settled).toHaveBeenCalledTimes(2);
  });

  it("fit into the largest message, however large they are together", async () => {
    const names = Array.from({ length: 100 }, (_, index) => String(index));
    for (const name of names) reporter.report(reportOf(name, LIMITS.payloadBytes), () => {});
    await drained();
    expect(sent.flatMap(namesOf)).toEqual(names);
    for (const message of sent) {
      expect((namesOf(message)?.length ?? 0) * LIMITS.payloadBytes).toBeLessThan(LIMITS.messageBytes / 2);
    }
  });

  it("that are larger than that go alone", async () => {
    for (const name of ["a", "b"]) reporter.report(reportOf(name, 5_000_000), () => {});
    await drained();
    expect(sent.map(namesOf)).toEqual([["a"], ["b"]]);
  });
});

describe("what no message can carry", () => {
  const endOf = (executionId: string, error: string): ExecutionReport => ({
    ref: { executionId, epoch: 1, invocationId: "inv" },
    event: {
      $case: "ended",
      value: {
        result: { $case: "threw", value: { error } },
        interrupted: false,
        killed: false,
        released: true,
        workerId: "wrk",
      },
    },
  });

  it("is sent in parts where it is many reports, in their order and each with its own refusal", async () => {
    const names = Array.from({ length: 1_000 }, (_, index) => `${index} ${"x".repeat(10_000)}`);
    refuse = (index) => (index === 0 ? "ExecutionIsNotCurrent" : undefined);
    const refusals: (string | undefined)[] = [];
    for (const name of names) reporter.report(reportOf(name), (refusal) => refusals.push(refusal));
    await drained();
    expect(sent).toHaveLength(2);
    expect(sent.flatMap(namesOf)).toEqual(names);
    expect(refusals.flatMap((refusal, index) => (refusal === undefined ? [] : index))).toEqual([0, 500]);
  });

  it("is told as a failure where it is one end, and holds up nothing behind it", async () => {
    const settled = vi.fn();
    reporter.report(endOf("large", "x".repeat(LIMITS.messageBytes)), settled);
    reporter.report(reportOf("next"), settled);
    await drained();
    expect(sent.map(namesOf)).toEqual([["large"], ["next"]]);
    const error = expect.stringMatching(/^PayloadSizeLimitExceeded: the end has 83886\d\d bytes/);
    const value = { result: { value: { error } }, released: true, workerId: "wrk" };
    expect(sent[0]).toMatchObject({ reports: [{ event: { $case: "ended", value } }] });
    expect(settled.mock.calls).toEqual([[undefined], [undefined]]);
  });

  it("is refused where it is one yielded value, and dropped where it is one line", async () => {
    const settled = vi.fn();
    reporter.appendLines([lineOf(1, "x".repeat(LIMITS.messageBytes)), lineOf(2, "small")]);
    reporter.report(reportOf("large", LIMITS.messageBytes), settled);
    reporter.report(reportOf("next"), settled);
    await drained();
    expect(sent).toMatchObject([{ lines: [{ lineNumber: 2 }] }, { reports: [{ ref: { executionId: "next" } }] }]);
    expect(settled.mock.calls).toEqual([["ReportIsRefused"], [undefined]]);
  });
});

describe("lines", () => {
  it("are stored before the reports that come after them", async () => {
    for (let number = 1; number <= 9_000; number++) reporter.appendLines([lineOf(number, "x")]);
    reporter.report(reportOf("a"), () => {});
    await drained();
    expect(sent.map((message) => "reports" in message)).toEqual([false, false, true]);
    const numbers = sent
      .flatMap((message) => ("lines" in message ? message.lines : []))
      .map(({ lineNumber }) => lineNumber);
    expect(numbers).toEqual(Array.from({ length: 9_000 }, (_, index) => index + 1));
  });

  it("fit into what is taken with one call", async () => {
    reporter.appendLines(Array.from({ length: 200 }, (_, index) => lineOf(index, "界".repeat(LIMITS.logLineLength))));
    await drained();
    for (const message of sent) {
      const lines = "lines" in message ? message.lines : [];
      expect(lines.reduce((bytes, { text }) => bytes + Buffer.byteLength(text), 0)).toBeLessThan(3 * 1024 * 1024);
    }
  });
});

it("gives up what is not taken when it is stopped", async () => {
  failures = Number.POSITIVE_INFINITY;
  const settled = vi.fn();
  reporter.report(reportOf("a"), settled);
  await reporter.drain(AbortSignal.timeout(50));
  expect(settled).not.toHaveBeenCalled();
});
