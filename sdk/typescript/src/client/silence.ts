/** A peer that is connected and says nothing: its replica may stand still, and what comes next goes to another one. */
import { Status } from "nice-grpc-common";
import { Unavailable } from "../errors.js";

export function silence(message: string, cause?: unknown): Unavailable {
  return new Unavailable(message, { code: Status.DEADLINE_EXCEEDED, cause });
}

export function isSilence(error: unknown): boolean {
  return error instanceof Unavailable && error.code === Status.DEADLINE_EXCEEDED;
}
