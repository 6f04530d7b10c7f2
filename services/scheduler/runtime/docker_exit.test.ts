import { describe, expect, it } from "vitest";
import { describeExit } from "./docker_exit.js";

const end = { exitCode: 0, oomKilled: false, wasStopped: false, lastLines: [] };

describe("the end of a container", () => {
  it.each([
    [{ exitCode: 3 }, "exited with code 3"],
    [{ exitCode: 134 }, "was killed by SIGABRT"],
    [{ exitCode: 137 }, "was killed by SIGKILL"],
    [{ exitCode: 255 }, "exited with code 255"],
    [{ exitCode: undefined, wasStopped: true }, "was killed by SIGKILL"],
    [{ exitCode: undefined }, "was removed by somebody else"],
  ])("%j is told as: %s", (more, description) => {
    expect(describeExit({ ...end, ...more })).toEqual({ description, outOfMemory: false });
  });

  it.each([
    ["the engine says so and the exit code fits", { exitCode: 137, oomKilled: true }, true],
    ["only a child was killed", { exitCode: 0, oomKilled: true }, false],
    ["it was stopped", { exitCode: 137, oomKilled: true, wasStopped: true }, false],
    ["it was killed, nobody knows why", { exitCode: 137 }, false],
    ["its heap was full", { exitCode: 134, lastLines: ["FATAL ERROR: JavaScript heap out of memory"] }, true],
  ])("names memory as the cause or not: %s", (_, more, outOfMemory) => {
    expect(describeExit({ ...end, ...more }).outOfMemory).toBe(outOfMemory);
  });
});
