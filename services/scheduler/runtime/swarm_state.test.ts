import { describe, expect, it } from "vitest";
import { programEndIn } from "./swarm_profile.js";
import { fewestCpus, jobStateOf, type SwarmNode, type SwarmTask, whereAlive } from "./swarm_state.js";

const node = (ID: string, State: string, cpus = 4): SwarmNode => ({
  ID,
  Description: { Hostname: `host-${ID}`, Resources: { NanoCPUs: cpus * 1e9 } },
  Status: { State },
});
const NODES = new Map(["up", "down"].map((id) => [id, node(id, id === "up" ? "ready" : "down")]));
const task = (State: string, more: Partial<SwarmTask["Status"]> = {}, NodeID?: string): SwarmTask => ({
  ID: "t",
  ...(NodeID === undefined ? {} : { NodeID }),
  Spec: {},
  Status: { State, ...more },
});

describe("the job of a worker", () => {
  it.each([
    [[], { kind: "none" }],
    [
      [task("pending", { Err: "no suitable node" })],
      { kind: "coming", description: "pending: no suitable node", isHeldUp: true },
    ],
    [
      [task("preparing", { Message: "preparing" }, "up")],
      { kind: "coming", description: "preparing: preparing", isHeldUp: false },
    ],
    [[task("running", {}, "up")], { kind: "running", node: "host-up" }],
    [[task("complete", { ContainerStatus: { ExitCode: 0 } })], { kind: "ended", description: "exited with code 0" }],
    [
      [task("rejected", { Err: "No such image: x" })],
      { kind: "ended", description: "was ended by Swarm (rejected: No such image: x)" },
    ],
    [[task("shutdown")], { kind: "ended", description: "was ended by Swarm (shutdown)" }],
    // What Swarm starts after that is not the worker that was known.
    [
      [task("running", {}, "up"), task("failed", { Err: "task: non-zero exit (137)" })],
      { kind: "ended", description: "was ended by Swarm (failed: task: non-zero exit (137))" },
    ],
  ])("%j is %j", (tasks, state) => {
    expect(jobStateOf(tasks, NODES)).toEqual(state);
  });

  it("may have processes where a task lives, and nobody knows whether on a node that is down", () => {
    expect(whereAlive([task("failed", {}, "up"), task("complete", {}, "down")], NODES)).toBe("nowhere");
    expect(whereAlive([task("running", {}, "down")], NODES)).toBe("out of reach");
    expect(whereAlive([task("running", {}, "removed from the Swarm")], NODES)).toBe("out of reach");
    expect(whereAlive([task("running", {}, "down"), task("running", {}, "up")], NODES)).toBe("somewhere");
    expect(whereAlive([task("pending")], NODES)).toBe("somewhere");
  });

  it("takes no more processors than the smallest node has", () => {
    expect(fewestCpus([node("a", "ready", 8), node("b", "ready", 2)])).toBe(2);
    expect(fewestCpus([])).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("what a worker's first process says", () => {
  it.each([
    ["multinode: the worker ended, code 0, killed for memory 0", { exitCode: 0, oomKilled: false, rest: "" }],
    [
      "halfmultinode: the worker ended, code 137, killed for memory 1",
      { exitCode: 137, oomKilled: true, rest: "half" },
    ],
    ["multinode: the worker ended", undefined],
    ["anything else", undefined],
  ])("%s", (line, end) => {
    expect(programEndIn(line)).toEqual(end);
  });
});
