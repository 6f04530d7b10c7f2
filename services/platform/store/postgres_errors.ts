/** What went wrong with PostgreSQL, and what its callers are told. */
import pg from "pg";
import { badRequest, diskIsFull, Refusal } from "../errors.js";

/** The connection broke, or was never there. */
export class ConnectionLost extends Error {
  constructor(cause: unknown) {
    super("the connection to the database was lost", { cause });
    this.name = "ConnectionLost";
  }
}

const UNIQUE_VIOLATION = "23505";
const LOCK_NOT_AVAILABLE = "55P03";
const SERIALIZATION_FAILURE = "40001";
const DEADLOCK_DETECTED = "40P01";
const FEATURE_NOT_SUPPORTED = "0A000";
const DISK_FULL = "53100";
const INVALID_TEXT = "22021";
const QUERY_CANCELED = "57014";
const READ_ONLY = "25006";
const TRANSACTION_FAILED = "25P02";
const IDLE_IN_TRANSACTION = "25P03";

/** Errors of the system by which a server that starts, restarts or cannot be reached is known. */
const UNREACHABLE: ReadonlySet<string> = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ENOENT",
  "ENOTFOUND",
  "EAI_AGAIN",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EPIPE",
]);

/** SQLSTATE, or the code of an error of the system. */
export function codeOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : "";
}

/** An error of a query as it is passed on: one that did not come from the server is one of the connection. */
export function queryError(error: unknown): unknown {
  return error instanceof pg.DatabaseError && !isOfConnection(error) ? error : new ConnectionLost(error);
}

/** The server is ending, starting, ended this session, or has become a standby. */
function isOfConnection(error: unknown): boolean {
  const code = codeOf(error);
  return code.startsWith("08") || code.startsWith("57P") || code === IDLE_IN_TRANSACTION || code === READ_ONLY;
}

/** Whether it may be other when the server is tried again a little later. */
export function isPassing(error: unknown): boolean {
  if (isOfConnection(error) || codeOf(error).startsWith("53") || UNREACHABLE.has(codeOf(error))) return true;
  return error instanceof Error && /timeout expired|Connection terminated/.test(error.message);
}

/** A statement was not run because one before it in its transaction had failed. */
export function isConsequence(error: unknown): boolean {
  return codeOf(error) === TRANSACTION_FAILED;
}

/** Another transaction was in the way: the same write may succeed when it is run again. */
export function isConflict(error: unknown): boolean {
  const code = codeOf(error);
  return code === LOCK_NOT_AVAILABLE || code === SERIALIZATION_FAILURE || code === DEADLOCK_DETECTED;
}

export function isUniqueViolation(error: unknown): boolean {
  return codeOf(error) === UNIQUE_VIOLATION;
}

/** A prepared statement whose table was changed since by a migration: it is good again on another connection. */
export function isStalePlan(error: unknown): boolean {
  return codeOf(error) === FEATURE_NOT_SUPPORTED && error instanceof Error && error.message.includes("cached plan");
}

/** What a caller is told; errors of its own pass. */
export function asRefusal(error: unknown): unknown {
  if (error instanceof ConnectionLost) return unavailable("the database does not answer", error);
  if (!(error instanceof pg.DatabaseError)) return error;
  const code = codeOf(error);
  if (code === DISK_FULL) return diskIsFull("database", error);
  // The edge refuses such text by the name of its field; this is for what only services write.
  if (code === INVALID_TEXT) return badRequest([{ field: "", description: "a text holds a NUL character" }]);
  if (isConflict(error)) return unavailable("others are changing the same: nothing was stored", error);
  if (code === QUERY_CANCELED) return unavailable("the database took too long: nothing was stored", error);
  return isPassing(error) ? unavailable("the database is not ready", error) : error;
}

export function unavailable(message: string, cause: unknown): Refusal {
  const refusal = new Refusal("Unavailable", message, { retryAfterMs: 1_000 });
  refusal.cause = cause;
  return refusal;
}
