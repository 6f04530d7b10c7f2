import { afterEach, beforeEach, expect, test } from "vitest";
import { LogLine } from "../../../../gen/multinode/invocation/v1/log_service.pb.js";
import { LIMITS } from "../protocol/limits.js";
import { LogShipper } from "./log_shipper.js";

let now: number;
let logs: LogShipper;
beforeEach(() => {
  now = 0;
  logs = new LogShipper(
    () => {},
    () => now,
  );
});
afterEach(() => logs.take()); // which ends its timer

const line = (lineNumber: number, text = "") => LogLine.fromPartial({ executionId: "e1", lineNumber, text });
const taken = () =>
  logs.take().flatMap(({ event }) => (event?.$case === "logs" ? event.value.lines.map((one) => one.lineNumber) : []));

test("gives what it has once", () => {
  logs.add([line(1), line(2)]);
  expect(taken()).toEqual([1, 2]);
  expect(taken()).toEqual([]);
});

test("gives again what a lost connection may have lost, before what waits, and no longer than it may be on its way", () => {
  logs.add([line(1)]);
  taken();
  now += LIMITS.workerSilenceMs;
  logs.add([line(2)]);
  taken();
  now += 1;
  logs.add([line(3)]);
  logs.takeBack();
  logs.takeBack();
  expect(taken()).toEqual([2, 3]);
});

test("keeps no more of it than its bound", () => {
  const text = "x".repeat(LIMITS.logLineLength);
  for (let number = 1; number <= 200; number += 1) {
    logs.add([line(number, text)]);
    taken();
  }
  logs.takeBack();
  const again = taken();
  expect(again.at(-1)).toBe(200);
  expect(again.length * text.length).toBeLessThanOrEqual(1024 * 1024);
  expect(again.length).toBeGreaterThan(50);
});
