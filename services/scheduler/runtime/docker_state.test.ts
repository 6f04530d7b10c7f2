import type { ContainerInfo } from "dockerode";
import { describe, expect, it } from "vitest";
import { LABELS } from "./docker_profile.js";
import { workersIn } from "./docker_state.js";

const container = (state: string, labels: Record<string, string>) =>
  ({ State: state, Labels: labels }) as unknown as ContainerInfo;
const worker = (state: string) => container(state, { [LABELS.worker]: "wrk-1", [LABELS.scheduler]: "sch-1" });

describe("the workers among the containers of an installation", () => {
  it("are those that are labelled so, whosever they are", () => {
    const holder = container("running", { [LABELS.role]: "holder", [LABELS.scheduler]: "sch-1" });
    expect(workersIn([holder, worker("running")])).toMatchObject([{ workerId: "wrk-1", schedulerId: "sch-1" }]);
  });

  it.each(["exited", "dead", "removing"])("have ended where they are %s", (state) => {
    expect(workersIn([worker(state)])).toMatchObject([{ hasEnded: true }]);
  });

  it.each(["created", "running", "paused", "restarting"])(
    "may run something, or come to it, where they are %s",
    (state) => {
      expect(workersIn([worker(state)])).toMatchObject([{ hasEnded: false }]);
    },
  );
});
