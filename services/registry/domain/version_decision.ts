/** What CreateVersion does, given what is there. */
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { projectDoesNotExist, projectIsBeingDeleted, Refusal } from "../../platform/errors.js";

export type ProjectPolicy = "must-exist" | "create-if-missing" | "must-be-new";

export interface VersionSituation {
  readonly project: { readonly isDeleting: boolean } | undefined;
  /** What the first use of the same request id created in the project. */
  readonly earlier: EarlierRequest | undefined;
}

export interface EarlierRequest {
  readonly versionId: string;
  readonly requestDigest: string;
  readonly createTimeMs: number;
}

/** A project that is missing is created with its version. */
export type VersionDecision =
  | { readonly kind: "create" }
  | { readonly kind: "answer-earlier"; readonly versionId: string };

export interface VersionRequest {
  readonly projectName: string;
  readonly policy: ProjectPolicy;
  readonly requestDigest: string;
}

export function decideVersion(
  request: VersionRequest,
  { project, earlier }: VersionSituation,
  nowMs: number,
): VersionDecision {
  const { projectName, policy, requestDigest } = request;
  if (project === undefined) {
    if (policy === "must-exist") throw projectDoesNotExist(projectName);
    return { kind: "create" };
  }
  if (project.isDeleting) throw projectIsBeingDeleted(projectName);
  // Before the policy: the repetition of a request that created its project finds the project there.
  if (earlier !== undefined && nowMs - earlier.createTimeMs < LIMITS.idempotencyWindowMs) {
    if (earlier.requestDigest === requestDigest) return { kind: "answer-earlier", versionId: earlier.versionId };
    throw new Refusal("VersionAlreadyExists", "the request id was used for another version", {
      metadata: { projectName, versionId: earlier.versionId },
    });
  }
  if (policy === "must-be-new") throw projectAlreadyExists(projectName);
  return { kind: "create" };
}

export function projectAlreadyExists(projectName: string): Refusal {
  return new Refusal("ProjectAlreadyExists", `project "${projectName}" already exists`, { metadata: { projectName } });
}
