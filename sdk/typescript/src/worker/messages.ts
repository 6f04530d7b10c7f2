/**
 * What the two threads of a worker say to each other. The main thread runs user code; the supervisor thread holds the
 * connection to the scheduler. Both post arrays of messages, in order.
 *
 * JSON goes as text, which is copied in half the time. Bytes are copied by the structured clone together with the whole
 * buffer that they lie in, so all others here have a buffer of their own (`posted`).
 */
import type { MessagePort } from "node:worker_threads";
import type { LogLine } from "../../../../gen/multinode/invocation/v1/log_service.pb.js";
import { JSON_CONTENT_TYPE } from "../protocol/names.js";
import type { EncodedArguments, TextPayload, WirePayload } from "../values/codec.js";

export type InterruptKind = "cancelled" | "timedOut";

/** Code and function that the worker is for. */
export interface BindMessage {
  readonly kind: "bind";
  readonly projectName: string;
  readonly versionId: string;
  readonly functionName: string;
  /** Folder that holds `main.mjs`, or why there is none: "ClassName: message". */
  readonly code: { readonly folder: string } | { readonly error: string };
  readonly environment: Readonly<Record<string, string>>;
}

export interface AssignMessage {
  readonly kind: "assign";
  readonly executionId: string;
  readonly invocationId: string;
  readonly attemptNumber: number;
  /** Empty: none. */
  readonly parentInvocationId: string;
  readonly executionToken: string;
  /** Until when user code may begin, by `monotonicMs`. Absent: at any time. */
  readonly beginBy?: number | undefined;
  readonly arguments: EncodedArguments<TextPayload>;
}

/** The same in all threads of a process. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}

export type ToMain =
  /** What the scheduler said in its welcome; repeated on each connection. */
  | { readonly kind: "server"; readonly apiUrl: string; readonly maxPayloadBytes: number }
  | BindMessage
  | AssignMessage
  | { readonly kind: "interrupt"; readonly executionId: string; readonly reason: InterruptKind }
  /** So many yielded values have been taken over; the main thread may post as many more. */
  | { readonly kind: "yieldsTaken"; readonly count: number }
  /** Memory is short: garbage is to be collected, and "collected" said. */
  | { readonly kind: "collect" };

export type Outcome =
  | { readonly kind: "returned"; readonly value: TextPayload | undefined }
  | { readonly kind: "threw"; readonly error: string; readonly nonRetryable?: boolean };

export type ToSupervisor =
  /** The code is loaded, or cannot be. */
  | { readonly kind: "loaded"; readonly isUsable: boolean }
  /** User code of these begins to run. */
  | { readonly kind: "began"; readonly executionIds: readonly string[] }
  /** `index` counts from 1. */
  | { readonly kind: "yielded"; readonly executionId: string; readonly index: number; readonly value: TextPayload }
  | {
      readonly kind: "ended";
      readonly executionId: string;
      readonly outcome: Outcome;
      readonly interrupted: boolean;
    }
  | { readonly kind: "lines"; readonly lines: readonly LogLine[] }
  | { readonly kind: "collected" }
  /** The process is about to exit, and begins nothing more. Comes before the ends of what it runs. */
  | { readonly kind: "leaving" }
  /** The process is about to exit and waits for SENT_ALL. */
  | { readonly kind: "exiting" };

/** Yielded values that the main thread may have posted without the supervisor having taken them. */
export const YIELDS_IN_FLIGHT = 32;

/** Which of the `flags` says that everything that was posted before "exiting" is with the operating system. */
export const SENT_ALL = 0;
/**
 * Which says that the main thread is about to begin executions: it looks at what has come, and then says which begin. So one
 * that is interrupted while this is 0, and of which "began" was not said, never begins.
 */
export const BEGINNING = 1;

/** What both threads see at once, each 0 at first. */
export type Flags = Int32Array<SharedArrayBuffer>;

export function newFlags(): Flags {
  return new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));
}

/** What the supervisor knows of an execution that the main thread begins with. */
export interface FirstExecution {
  readonly executionId: string;
  readonly executionToken: string;
  readonly memoryBytes: number;
}

/** What the supervisor thread is started with. */
export interface SupervisorData {
  readonly port: MessagePort;
  readonly flags: Flags;
  /** The configuration as JSON; undefined: it comes on file descriptor 3, which is the lifeline too. */
  readonly config: Uint8Array<ArrayBuffer> | undefined;
  /** What the main thread begins with by itself. */
  readonly firstWork: FirstExecution | undefined;
}

/** A payload as it is posted. */
export function posted({ contentType, data }: TextPayload): TextPayload {
  if (typeof data === "string") return { contentType, data };
  if (contentType === JSON_CONTENT_TYPE) return { contentType, data: textOf(data) };
  return { contentType, data: new Uint8Array(data) };
}

/** A payload that was posted, with the type of bytes that the generated messages ask for. */
export function received({ contentType, data }: TextPayload): WirePayload {
  if (typeof data === "string") return { contentType, data: Buffer.from(data) };
  return { contentType, data: Buffer.from(data.buffer, data.byteOffset, data.byteLength) };
}

function textOf(data: Uint8Array): string {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString();
}
