import { expect, test } from "vitest";
import { type LogLine, LogStream } from "../../../../gen/multinode/invocation/v1/log_service.pb.js";
import { LIMITS } from "../protocol/limits.js";
import { ExecutionLog } from "./execution_log.js";

function makeLog(): { log: ExecutionLog; lines: LogLine[] } {
  const lines: LogLine[] = [];
  return { log: new ExecutionLog("exe-1", (more) => lines.push(...more)), lines };
}
const shown = (lines: readonly LogLine[]): unknown[] =>
  lines.map(({ lineNumber, stream, text }) => [lineNumber, stream, text]);

test("makes lines of pieces, each stream for itself", () => {
  const { log, lines } = makeLog();
  log.write("stdout", "a\nb");
  log.write("stderr", "error\r\n");
  log.write("stdout", "c\n\n");
  log.write("stdout", "end");
  log.flush();
  log.flush();
  expect(shown(lines)).toEqual([
    [1, LogStream.STDOUT, "a"],
    [2, LogStream.STDERR, "error"],
    [3, LogStream.STDOUT, "bc"],
    [4, LogStream.STDOUT, ""],
    [5, LogStream.STDOUT, "end"],
  ]);
});

test("joins the bytes of a character", () => {
  const { log, lines } = makeLog();
  const bytes = Buffer.from("é\n");
  log.write("stdout", bytes.subarray(0, 1));
  log.write("stdout", bytes.subarray(1));
  expect(lines.map(({ text }) => text)).toEqual(["é"]);
});

test("cuts a long line, however it was written", () => {
  const { log, lines } = makeLog();
  for (let count = 0; count < 10; count += 1) log.write("stdout", "x".repeat(10_000));
  log.write("stdout", "\nnext\n");
  const text = lines[0]?.text ?? "";
  expect(text.length).toBeLessThanOrEqual(LIMITS.logLineLength);
  const [, kept, cut] = /^(x+)… \[cut: (\d+) characters\]$/.exec(text) ?? [];
  expect((kept?.length ?? 0) + Number(cut)).toBe(100_000);
  expect(lines[1]?.text).toBe("next");
});

test("ends after the allowed number of lines with a line that says so", () => {
  const { log, lines } = makeLog();
  log.write("stdout", "line\n".repeat(LIMITS.logLinesPerExecution + 100));
  log.write("stdout", "more\n");
  const { length } = lines;
  expect(length).toBe(LIMITS.logLinesPerExecution);
  expect(lines.at(-1)).toMatchObject({ stream: LogStream.SYSTEM, lineNumber: length });
  expect(lines.at(-1)?.text).toMatch(/log cut/);
  // There is room for what is said of its end.
  log.system("Error: boom\n    at f (main.ts:1:1)");
  expect(lines.slice(length).map(({ text }) => text)).toEqual(["Error: boom", "    at f (main.ts:1:1)"]);
  for (let count = 0; count < 1_000; count += 1) log.system("more");
  expect(lines.length).toBeLessThan(length + 500);
  expect(lines.filter(({ text }) => text.includes("log cut"))).toHaveLength(1);
});

test("ends after the allowed number of bytes", () => {
  const { log, lines } = makeLog();
  for (let count = 0; count < 200; count += 1) log.write("stdout", `${"y".repeat(10_000)}\n`);
  const bytes = lines.slice(0, -1).reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  expect(bytes).toBeLessThanOrEqual(LIMITS.logBytesPerExecution);
  expect(lines.at(-1)?.stream).toBe(LogStream.SYSTEM);
});

test("makes as many lines of a message, or an error, as it has", () => {
  const { log, lines } = makeLog();
  log.logger().warn("a\nb\r\nc\n");
  log.logger().info("");
  log.system("Error: x\r\n  at y");
  expect(lines.map(({ lineNumber, stream, level, text }) => [lineNumber, stream, level, text])).toEqual([
    [1, LogStream.LOGGER, "warn", "a"],
    [2, LogStream.LOGGER, "warn", "b"],
    [3, LogStream.LOGGER, "warn", "c"],
    [4, LogStream.LOGGER, "info", ""],
    [5, LogStream.SYSTEM, "", "Error: x"],
    [6, LogStream.SYSTEM, "", "  at y"],
  ]);
});

test("writes the logger's fields as JSON, each for itself where one is none", () => {
  const { log, lines } = makeLog();
  const cycle: Record<string, unknown> = {};
  cycle["self"] = cycle;
  log.logger().info("done", { count: 2, big: 1n });
  log.logger().error("bad", { ...cycle, why: new TypeError("x"), none: undefined });
  log.logger().warn("worse", {
    get it(): never {
      throw new Error("no");
    },
    n: 1,
  });
  const pairs = new Map<unknown, unknown>([[1n, new Set(["a"])]]);
  log.logger().info("more", { map: new Map([["a", new Map([["b", 1]])]]), pairs });
  expect(lines.map(({ stream, level, text }) => [stream, level, text])).toEqual([
    [LogStream.LOGGER, "info", 'done {"count":2,"big":"1"}'],
    [LogStream.LOGGER, "error", 'bad {"self":"[JSON cannot carry it]","why":"TypeError: x"}'],
    [LogStream.LOGGER, "warn", 'worse {"it":"[JSON cannot carry it]","n":1}'],
    [LogStream.LOGGER, "info", 'more {"map":{"a":{"b":1}},"pairs":[["1",["a"]]]}'],
  ]);
});
