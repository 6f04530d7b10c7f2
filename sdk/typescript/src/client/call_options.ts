/** The options of the methods of a function, and their checks: before anything is sent, and in the words of the method. */

import { OptionCheck } from "../definition/option_check.js";
import type { Duration } from "../definition/units.js";
import type { InvocationStatus } from "../invocation.js";
import { LIMITS } from "../protocol/limits.js";
import { isId } from "../protocol/names.js";
import type { WatchUntil } from "./invocation_client.js";

/** How invocations are started, and until when their results are awaited. */
export interface InvocationOptions {
  /**
   * 1 to 128 characters, unique in the project. For 24 hours a repeated start with the same key and arguments answers the
   * first invocation. `map` and `starmap` add ":" and the place of the input, and take 118 characters.
   */
  readonly idempotencyKey?: string | undefined;
  /** An invocation that has not begun by then is TIMED_OUT, and never begins. Default: no limit. At most 365 days. */
  readonly ttl?: Duration | undefined;
  /** Stops the call; the invocation is left alone, unless `cancelOnAbort` is set. */
  readonly signal?: AbortSignal | undefined;
  /** Whether aborting the signal of a `callRemote` also cancels the invocation. Default false. */
  readonly cancelOnAbort?: boolean | undefined;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface ListOptions extends CallOptions {
  /** `offset` of the page before, listed with the same filters. Default: the first page. */
  readonly offset?: string | undefined;
  /** 1 to 1,000. Default 50. */
  readonly pageSize?: number | undefined;
  readonly status?: InvocationStatus | readonly InvocationStatus[] | undefined;
  /** Only children of this invocation. */
  readonly parent?: string | undefined;
  readonly versionId?: string | undefined;
  /** Only those created at this time or later. */
  readonly createdFrom?: Date | undefined;
  /** Only those created before this time. */
  readonly createdBefore?: Date | undefined;
}

export interface WatchOptions extends CallOptions {
  /** When the stream ends. Default "finished". */
  readonly until?: WatchUntil | undefined;
}

export interface AwaitOptions extends CallOptions {
  /** Whether aborting the signal also cancels the invocation. Default false. */
  readonly cancelOnAbort?: boolean | undefined;
}

const INVOCATION_OPTIONS = [
  "idempotencyKey",
  "ttl",
  "signal",
  "cancelOnAbort",
] as const satisfies readonly (keyof InvocationOptions)[];
const CALL_OPTIONS = ["signal"] as const satisfies readonly (keyof CallOptions)[];
const WATCH_OPTIONS = ["until", "signal"] as const satisfies readonly (keyof WatchOptions)[];
const AWAIT_OPTIONS = ["cancelOnAbort", "signal"] as const satisfies readonly (keyof AwaitOptions)[];
const LIST_OPTIONS = [
  "offset",
  "pageSize",
  "status",
  "parent",
  "versionId",
  "createdFrom",
  "createdBefore",
  "signal",
] as const satisfies readonly (keyof ListOptions)[];

const STATUSES: readonly string[] = Object.keys({
  PENDING: true,
  RUNNING: true,
  CANCELLING: true,
  SUCCEEDED: true,
  FAILED: true,
  CANCELLED: true,
  TIMED_OUT: true,
} satisfies Record<InvocationStatus, true>);

/** Any text: the server says what is wrong with it. */
const ANY_TEXT = { min: 0, max: Number.POSITIVE_INFINITY };

export function checkInvocationOptions(options: InvocationOptions): void {
  const check = new OptionCheck();
  if (check.names("", options, INVOCATION_OPTIONS)) {
    check.text("idempotencyKey", options.idempotencyKey, { min: 1, max: LIMITS.idempotencyKeyLength });
    check.duration("ttl", options.ttl, { min: 1, max: LIMITS.ttlMs });
    check.signal("signal", options.signal);
    check.boolean("cancelOnAbort", options.cancelOnAbort);
  }
  check.throwIfAny("withOptions");
}

export function checkCall(method: "get" | "cancel", invocationId: string, options: CallOptions): void {
  const check = idCheck(invocationId);
  if (check.names("", options, CALL_OPTIONS)) check.signal("signal", options.signal);
  check.throwIfAny(method);
}

export function checkWatch(invocationId: string, options: WatchOptions): void {
  const check = idCheck(invocationId);
  if (check.names("", options, WATCH_OPTIONS)) {
    check.oneOf("until", options.until, ["finished", "terminated"]);
    check.signal("signal", options.signal);
  }
  check.throwIfAny("watch");
}

export function checkAwait(invocationId: string, options: AwaitOptions): void {
  const check = idCheck(invocationId);
  if (check.names("", options, AWAIT_OPTIONS)) {
    check.boolean("cancelOnAbort", options.cancelOnAbort);
    check.signal("signal", options.signal);
  }
  check.throwIfAny("awaitResult");
}

export function checkList(options: ListOptions): void {
  const check = new OptionCheck();
  if (check.names("", options, LIST_OPTIONS)) {
    const { status, parent } = options;
    check.text("offset", options.offset, ANY_TEXT);
    check.integer("pageSize", options.pageSize, { min: 1, max: LIMITS.maxPageSize });
    if (!Array.isArray(status)) check.oneOf("status", status, STATUSES);
    else for (const [place, each] of status.entries()) check.oneOf(`status[${place}]`, each ?? null, STATUSES);
    if (parent !== undefined && !isId("inv", parent))
      check.violation("parent", parent, 'must be "inv-" and 26 characters');
    check.text("versionId", options.versionId, ANY_TEXT);
    check.date("createdFrom", options.createdFrom);
    check.date("createdBefore", options.createdBefore);
    check.signal("signal", options.signal);
  }
  check.throwIfAny("list");
}

/** An input of `starmap`, which is the arguments of one call. */
export function argumentList(input: unknown, index: number): readonly unknown[] {
  if (Array.isArray(input)) return input;
  const check = new OptionCheck();
  check.violation(`inputs[${index}]`, input, "must be a list of arguments; map takes single ones");
  return check.throwIfAny("starmap") as never;
}

function idCheck(invocationId: unknown): OptionCheck {
  const check = new OptionCheck();
  if (typeof invocationId !== "string") check.violation("invocationId", invocationId, "must be a text");
  return check;
}
