import { describe, expect, it } from "vitest";
import { decideVersion, type ProjectPolicy } from "./version_decision.js";

const DAY_MS = 86_400_000;
const existing = { isDeleting: false };
const earlier = { versionId: "ver-1", requestDigest: "same", createTimeMs: 0 };

function decide(policy: ProjectPolicy, situation: Partial<Parameters<typeof decideVersion>[1]>, nowMs = 0): string {
  const request = { projectName: "p", policy, requestDigest: "same" };
  try {
    return decideVersion(request, { project: undefined, earlier: undefined, ...situation }, nowMs).kind;
  } catch (error) {
    return Reflect.get(error as object, "reason") as string;
  }
}

describe("decideVersion", () => {
  it.each([
    ["must-exist", undefined, "ProjectDoesNotExist"],
    ["must-exist", existing, "create"],
    ["create-if-missing", undefined, "create"],
    ["create-if-missing", existing, "create"],
    ["must-be-new", undefined, "create"],
    ["must-be-new", existing, "ProjectAlreadyExists"],
    ["must-exist", { isDeleting: true }, "ProjectIsBeingDeleted"],
    ["create-if-missing", { isDeleting: true }, "ProjectIsBeingDeleted"],
    ["must-be-new", { isDeleting: true }, "ProjectIsBeingDeleted"],
  ] as const)("%s, %j: %s", (policy, project, outcome) => {
    expect(decide(policy, { project })).toBe(outcome);
  });

  it("answers a repeated request, whatever the policy, for 24 hours", () => {
    for (const policy of ["must-exist", "create-if-missing", "must-be-new"] as const) {
      expect(decide(policy, { project: existing, earlier }, DAY_MS - 1)).toBe("answer-earlier");
    }
    expect(decide("must-exist", { project: existing, earlier }, DAY_MS)).toBe("create");
    expect(decide("must-exist", { project: { isDeleting: true }, earlier })).toBe("ProjectIsBeingDeleted");
  });

  it("refuses the request id for another version", () => {
    const other = { ...earlier, requestDigest: "other" };
    expect(decide("must-exist", { project: existing, earlier: other })).toBe("VersionAlreadyExists");
    expect(decide("must-exist", { project: existing, earlier: other }, DAY_MS)).toBe("create");
  });
});
