import { describe, expect, it } from "vitest";
import { type LogLine, LogStream } from "../../../gen/multinode/invocation/v1/log_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { boundedLine, boundedPayload, boundedResult } from "./worker_bounds.js";

const payload = (bytes: number, contentType = "application/json") => ({ contentType, data: new Uint8Array(bytes) });
const lineOf = (text: string, level = ""): LogLine => ({
  executionId: "exe",
  lineNumber: 1,
  timeMs: 1,
  stream: LogStream.STDOUT,
  text,
  level,
});

describe("a result", () => {
  it("goes on as it is up to the limit", () => {
    const result = { $case: "returned", value: { value: payload(10) } } as const;
    expect(boundedResult(result, 10)).toEqual(result);
    const none = { $case: "returned", value: { value: undefined } } as const;
    expect(boundedResult(none, 10)).toEqual(none);
  });

  it("that is too large, or none, is an error", () => {
    const error = "PayloadSizeLimitExceeded: the result has 11 bytes, more than the limit of 10";
    const tooLarge = boundedResult({ $case: "returned", value: { value: payload(11) } }, 10);
    expect(tooLarge).toEqual({ $case: "threw", value: { error } });
    expect(boundedResult(undefined, 10)).toEqual({
      $case: "threw",
      value: { error: "Error: the worker said no result" },
    });
  });

  it("that is a long error is cut", () => {
    const { value } = boundedResult({ $case: "threw", value: { error: "x".repeat(LIMITS.messageBytes) } }, 10);
    expect(value).toMatchObject({ error: expect.stringMatching(/^x+… \[cut: \d+ characters\]$/) });
    expect("error" in value && value.error.length).toBeLessThanOrEqual(LIMITS.errorLength);
  });
});

it("the content type of a value is cut", () => {
  expect(boundedPayload(payload(1))).toEqual(payload(1));
  expect(boundedPayload(payload(1, "x".repeat(LIMITS.messageBytes)))).toEqual(payload(1, "x".repeat(100)));
});

describe("a log", () => {
  /** How many of these lines are taken. */
  const taken = (line: LogLine, count: number): number => {
    let logBytes = 0;
    for (let index = 0; index < count; index++) {
      const next = boundedLine(logBytes, line);
      if (next.line === undefined) return index;
      logBytes = next.logBytes;
    }
    return count;
  };

  it("takes all that a worker may send, and as much that was printed beside it", () => {
    const lines = 2 * LIMITS.logLinesPerExecution;
    const text = "x".repeat((2 * LIMITS.logBytesPerExecution) / lines);
    expect(taken(lineOf(text, "debug"), lines)).toBe(lines);
  });

  it("is full at last, also of lines without text", () => {
    const most = 4 * LIMITS.logLinesPerExecution;
    expect(taken(lineOf(""), most)).toBeLessThan(most);
    expect(taken(lineOf("x".repeat(LIMITS.messageBytes)), 1)).toBe(0);
  });

  it("has short lines, and levels that may be known", () => {
    const { line } = boundedLine(0, lineOf("x".repeat(LIMITS.logLineLength + 1), "x".repeat(LIMITS.messageBytes)));
    expect(line).toEqual(lineOf("x".repeat(LIMITS.logLineLength)));
    expect(boundedLine(0, lineOf("x", "error")).line).toEqual(lineOf("x", "error"));
  });
});
