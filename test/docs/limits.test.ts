/** The tables of limits and options say what the code says. */
import { expect, test } from "vitest";
import { parseDurationMs, parseSizeBytes } from "../../sdk/typescript/src/definition/units.js";
import { LIMITS, OPTION_LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { readDocument } from "./documents.js";
import { tableRows } from "./tables.js";

const OPTIONS = readDocument("docs/function-definitions.md").text;

/** What the tables write, as the number that the code has: "24 h", "250,000 bytes", "1 MiB", "1,000". */
function valueOf(written: string): number | undefined {
  const text = written.replaceAll(",", "");
  if (/^[\d.]+( bytes)?$/.test(text)) return Number.parseFloat(text);
  return parseSizeBytes(text) ?? parseDurationMs(text.replace(" days", "d").replace(" min", "m"));
}

test("docs/limits.md lists every limit with its value", () => {
  const rows = tableRows(readDocument("docs/limits.md").text, ["limit", "value"]);
  const listed = Object.fromEntries(rows.map(([name, value]) => [name, valueOf(value ?? "")]));
  expect(listed).toEqual(LIMITS);
});

test.each([
  ["cpu", OPTION_LIMITS.cpu],
  ["memory", OPTION_LIMITS.memoryBytes],
  ["timeout", OPTION_LIMITS.timeoutMs],
  ["maxConcurrency", OPTION_LIMITS.maxConcurrency],
  ["maxRetries", OPTION_LIMITS.maxRetries],
  ["gracePeriod", OPTION_LIMITS.gracePeriodMs],
  ["maxInvocationsPerWorker", OPTION_LIMITS.maxInvocationsPerWorker],
  ["workerConcurrency", OPTION_LIMITS.workerConcurrency],
  ["minWorkers", OPTION_LIMITS.minWorkers],
  ["idleTimeout", OPTION_LIMITS.idleTimeoutMs],
])("docs/function-definitions.md gives the default and the bounds of %s", (option, limits) => {
  const row = tableRows(OPTIONS, ["option", "default", "bounds"]).find(([name]) => name === option);
  const [, first = "", , second = ""] =
    /^(?:above )?(\S+( [KMG]?i?B)?)(?: to |, at most )([^,]+(?:,\d{3})*)/.exec(row?.[2] ?? "") ?? [];
  expect(valueOf(row?.[1] ?? "")).toBe(limits.default);
  expect(valueOf(first.replace(/,$/, ""))).toBe("above" in limits ? limits.above : limits.min);
  expect(valueOf(second)).toBe(limits.max);
});

test("docs/function-definitions.md gives the defaults and the bounds of retryDelay", () => {
  const rows = tableRows(OPTIONS, ["field", "default", "bounds"]);
  expect(rows).toEqual([
    ["initial", "required", "0 to 24h"],
    [
      "factor",
      String(OPTION_LIMITS.retryFactor.default),
      `${OPTION_LIMITS.retryFactor.min} to ${OPTION_LIMITS.retryFactor.max}`,
    ],
    ["ceiling", expect.stringMatching(/^5m, /), "initial to 24h"],
    ["jitter", String(OPTION_LIMITS.retryJitter.default), expect.stringMatching(/^0 to 1: /)],
  ]);
  expect(OPTION_LIMITS.retryCeilingMs).toEqual({ max: parseDurationMs("24h"), default: parseDurationMs("5m") });
  expect(OPTION_LIMITS.retryInitialMs).toEqual({ min: 0, max: parseDurationMs("24h") });
});
