import { expect, test } from "vitest";
import { parseDurationMs, parseSizeBytes } from "./units.js";

test.each([
  ["16 GiB", 16 * 1024 ** 3],
  ["256 MiB", 256 * 1024 ** 2],
  ["1 KiB", 1024],
  ["1.5KiB", 1536],
  ["12 B", 12],
  [1024, 1024],
  ["16", undefined],
  ["16 GB", undefined],
  ["-1 KiB", undefined],
  [Number.NaN, undefined],
  [-1, undefined],
  [null, undefined],
])("size %s", (written, bytes) => {
  expect(parseSizeBytes(written)).toBe(bytes);
});

test.each([
  ["500ms", 500],
  ["2s", 2_000],
  ["30m", 1_800_000],
  ["1h", 3_600_000],
  ["1h30m", 5_400_000],
  ["1d", 86_400_000],
  ["0.1s", 100],
  ["1.1s", 1_100],
  ["0.5ms", 1],
  ["0s", 0],
  [250, 250],
  ["2", undefined],
  ["", undefined],
  ["1 hour", undefined],
  ["-1s", undefined],
  [Number.POSITIVE_INFINITY, undefined],
  [{}, undefined],
])("duration %s", (written, ms) => {
  expect(parseDurationMs(written)).toBe(ms);
});
