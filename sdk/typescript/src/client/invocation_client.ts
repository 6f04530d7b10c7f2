/**
 * What the methods of a function need of a client. `MultinodeClient` is the one that talks to a server.
 *
 * Starts and waits are told to a sink, an object with methods, so that `map` over many inputs makes one small object for
 * each and neither promises nor listeners.
 */
import type { Invocation, InvocationIdsList, InvocationStatus } from "../invocation.js";
import type { EncodedArguments } from "../values/payload.js";

/** One invocation to start. Empty names are filled in by the server from the token of the calling execution. */
export interface StartRequest {
  readonly projectName: string;
  /** Empty, or "latest": the newest version at the moment of the call. */
  readonly versionId: string;
  readonly functionName: string;
  readonly arguments: EncodedArguments;
  /** Empty: none. */
  readonly idempotencyKey: string;
  /** Milliseconds within which an execution must begin. */
  readonly ttlMs: number | undefined;
}

export interface StartSink {
  /** Whether nobody wants the start any more: it is dropped if it has not been sent, and `notStarted` is told. */
  readonly abandoned: boolean;
  /** The invocation is stored durably. */
  started(invocationId: string): void;
  /** It was not stored, or, where the server could not be reached, may not have been. */
  notStarted(error: Error): void;
}

export type WatchDetail = "changes" | "end";
export type WatchUntil = "finished" | "terminated";

export interface WatchSink {
  /** A newer state. Its revision is higher than the one before. Nothing follows the state that ends the watch. */
  changed(invocation: Invocation): void;
  /** The invocation cannot be followed. Nothing follows. */
  unwatchable(error: Error): void;
}

/** A place in the watch stream. */
export interface WatchHandle {
  /** Stops; nothing is told to the sink any more. May be repeated, also after the end. */
  close(): void;
}

/** Which function an invocation must be of. Empty: any; of a version also "latest", since what is newest changes. */
export interface InvocationCheck {
  readonly projectName: string;
  readonly functionName: string;
  readonly versionId: string;
}

export interface ListRequest {
  readonly projectName: string;
  readonly functionName: string;
  readonly versionId: string;
  readonly statuses: readonly InvocationStatus[];
  readonly parentInvocationId: string;
  readonly createdFromMs: number | undefined;
  readonly createdBeforeMs: number | undefined;
  /** 0: the default, 50. */
  readonly pageSize: number;
  /** Empty: the first page. */
  readonly offset: string;
}

export interface InvocationClient extends AsyncDisposable {
  /** Largest encoded input that it sends, in bytes. */
  readonly maxPayloadBytes: number;
  /** Starts one invocation. Those of the same moment travel together. Never throws: the sink is told. */
  enqueueStart(request: StartRequest, sink: StartSink): void;
  /** Starts one invocation and answers its id, when it is stored durably. */
  start(request: StartRequest, signal?: AbortSignal): Promise<string>;
  get(invocationId: string, check: InvocationCheck, signal?: AbortSignal): Promise<Invocation>;
  cancel(invocationId: string, check: InvocationCheck, signal?: AbortSignal): Promise<Invocation>;
  list(request: ListRequest, signal?: AbortSignal): Promise<InvocationIdsList>;
  /** Follows one invocation on the client's one watch stream. */
  follow(invocationId: string, detail: WatchDetail, until: WatchUntil, sink: WatchSink): WatchHandle;
  /** Waits for the finished state. Without a check: of any function. */
  awaitFinished(invocationId: string, signal?: AbortSignal, check?: InvocationCheck): Promise<Invocation>;
  /** The state now, then every change. Without a check: of any function. */
  watch(
    invocationId: string,
    until: WatchUntil,
    signal?: AbortSignal,
    check?: InvocationCheck,
  ): AsyncGenerator<Invocation, void, undefined>;
  /** Ends the connection; whatever is still pending rejects. */
  close(): Promise<void>;
}
