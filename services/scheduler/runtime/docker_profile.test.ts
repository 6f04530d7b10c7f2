import { expect, it } from "vitest";
import { limitsOf } from "./docker_profile.js";

it.each([
  // cpu, period in µs, what of it a container may run
  [16, 100_000, 1_600_000],
  [1, 100_000, 100_000],
  [0.5, 100_000, 50_000],
  [0.25, 200_000, 50_000],
  [0.1, 500_000, 50_000],
  [0.05, 500_000, 25_000],
  [0.001, 500_000, 5_000],
])("a container with %s CPU runs for long enough at a time, and no more in all", (cpu, CpuPeriod, CpuQuota) => {
  expect(limitsOf({ cpu, memoryBytes: 1 })).toMatchObject({ CpuPeriod, CpuQuota });
});
