/** What the log says of calls: an access line of each, and what went wrong in the server itself. */
import { randomBytes } from "node:crypto";
import { type ServerError, Status } from "nice-grpc";
import type { Logger } from "../log.js";
import { internalError } from "./error_status.js";

/** @param startedAt by `performance.now()`. */
export function logCall(log: Logger, method: string, code: Status, startedAt: number, peer: string): void {
  if (!log.isLevelEnabled("debug")) return;
  const ms = Math.round((performance.now() - startedAt) * 1000) / 1000;
  log.debug({ method, code: Status[code], ms, peer }, "call");
}

/** Answers what the caller is told: no more than where the log says more. */
export function logInternalError(log: Logger, method: string, error: unknown): ServerError {
  const id = randomBytes(6).toString("hex");
  log.error({ errorId: id, method, err: error }, "internal error");
  return internalError(id);
}
