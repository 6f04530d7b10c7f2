/** Refusals: errors that a caller can do something about. Everything else that is thrown is an internal error. */
import { isLatest } from "../../sdk/typescript/src/protocol/names.js";
import type { Reason } from "../../sdk/typescript/src/protocol/reasons.js";

export interface FieldViolation {
  /** Path of the field in the request, such as "functions[2].options.cpu". */
  readonly field: string;
  /** What is wrong: the value and the bound. */
  readonly description: string;
}

export interface RefusalDetails {
  readonly metadata?: Readonly<Record<string, string>>;
  readonly violations?: readonly FieldViolation[];
  /** When trying again can help. Default: "never", and of what is exhausted a second. */
  readonly retryAfterMs?: number | "never";
}

export class Refusal extends Error {
  readonly reason: Reason;
  readonly details: RefusalDetails;

  constructor(reason: Reason, message: string, details: RefusalDetails = {}) {
    super(message);
    this.name = "Refusal";
    this.reason = reason;
    this.details = details;
  }
}

/** Refuses a request for all of its bad fields at once. */
export function badRequest(violations: readonly FieldViolation[]): Refusal {
  const message = violations.map((violation) => `${violation.field}: ${violation.description}`).join("; ");
  return new Refusal("ParameterValidationError", message, { violations });
}

export function projectDoesNotExist(projectName: string): Refusal {
  return new Refusal("ProjectDoesNotExist", `project "${projectName}" does not exist`, { metadata: { projectName } });
}

export function projectIsBeingDeleted(projectName: string): Refusal {
  return new Refusal("ProjectIsBeingDeleted", `project "${projectName}" is being deleted`, {
    metadata: { projectName },
  });
}

/** @param versionId empty or "latest" where the newest one was asked for */
export function versionDoesNotExist(projectName: string, versionId: string): Refusal {
  const message = isLatest(versionId)
    ? `project "${projectName}" has no version yet`
    : `version ${versionId} does not exist in project "${projectName}"`;
  return new Refusal("VersionDoesNotExist", message, { metadata: { projectName, versionId } });
}

/** @param versionId as of `versionDoesNotExist` */
export function functionDoesNotExist(projectName: string, versionId: string, functionName: string): Refusal {
  const where = `${isLatest(versionId) ? "the latest version" : `version ${versionId}`} of project "${projectName}"`;
  const message = `function "${functionName}" does not exist in ${where}`;
  return new Refusal("FunctionDoesNotExist", message, { metadata: { projectName, versionId, functionName } });
}

export function permissionDenied(message: string, metadata: Readonly<Record<string, string>> = {}): Refusal {
  return new Refusal("PermissionDenied", message, { metadata });
}

export function apiKeyIsInvalid(): Refusal {
  return new Refusal("ApiKeyIsInvalid", 'the API key is missing or not valid: send "authorization: Bearer <key>"');
}

export function diskIsFull(owner: "server" | "database", cause: unknown): Refusal {
  const refusal = new Refusal("ResourceExhausted", `the disk of the ${owner} is full: nothing was stored`, {
    metadata: { limit: "disk" },
    retryAfterMs: 5_000,
  });
  refusal.cause = cause;
  return refusal;
}

/** More than there may ever be, so that the same is refused again whenever it is tried. */
export function limitIsExceeded(message: string, limit: number): Refusal {
  return new Refusal("ResourceExhausted", message, { metadata: { limit: String(limit) }, retryAfterMs: "never" });
}

export function serverIsStopping(details: RefusalDetails = {}): Refusal {
  return new Refusal("Unavailable", "the server is stopping", details);
}
