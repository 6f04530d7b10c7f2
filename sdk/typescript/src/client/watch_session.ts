/**
 * All waits of a client, on one WatchInvocations stream.
 *
 * 1. The stream is open while anything is followed, and closed after a short idle time.
 * 2. After a broken connection it is opened again, for ever, and names the revision that each invocation has reached.
 * 3. Several followers of one invocation share one target, with the strongest detail that any of them asked for.
 * 4. Each follower is told states of strictly growing revision, and nothing after the one that ends its watch.
 * 5. Nothing here polls.
 */
import type { Client } from "nice-grpc";
import { Status } from "nice-grpc-common";
import type { Invocation as WireInvocation } from "../../../../gen/multinode/invocation/v1/invocation.pb.js";
import {
  type InvocationServiceDefinition,
  type WatchInvocationsRequest,
  type WatchInvocationsResponse,
} from "../../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { MultinodeError, ParameterValidationError, Unavailable } from "../errors.js";
import type { Invocation } from "../invocation.js";
import { LIMITS } from "../protocol/limits.js";
import { isId } from "../protocol/names.js";
import { invocationFromWire } from "./convert.js";
import type { WatchDetail, WatchHandle, WatchSink, WatchUntil } from "./invocation_client.js";
import { clientIsClosed } from "./invocation_result.js";
import { RequestQueue } from "./request_queue.js";
import { silence } from "./silence.js";
import { END_MS } from "./start_stream.js";
import { copyOf, errorFromStatus } from "./status_details.js";
import { Follower, isEnd, WatchTarget } from "./watch_target.js";

export interface WatchSessionOptions {
  /** A stream without a message for this long, heartbeats included, is broken. */
  readonly silenceMs?: number;
  /** How long the stream stays open when nothing is followed. It keeps the process alive for so long. */
  readonly idleMs?: number;
  readonly firstReconnectMs?: number;
  /** Invocations that the server follows at once. Others wait until some of these have ended. */
  readonly mostFollowed?: number;
}

type WatchService = Pick<Client<InvocationServiceDefinition>, "watchInvocations">;

/** Errors that no new connection mends. */
const FINAL_CODES: ReadonlySet<number | undefined> = new Set([
  Status.INVALID_ARGUMENT,
  Status.UNAUTHENTICATED,
  Status.PERMISSION_DENIED,
  Status.UNIMPLEMENTED,
]);

const LONGEST_RECONNECT_MS = 2_000;

export class WatchSession {
  readonly #service: WatchService;
  readonly #options: Required<WatchSessionOptions>;
  readonly #targets = new Map<string, WatchTarget>();
  /** Ids to tell the server of at the end of this turn, or with the next connection. */
  readonly #toAdd = new Set<WatchTarget>();
  /** What the server was told of on this stream and has not let go, and what there is no room for. */
  readonly #followed = new Set<WatchTarget>();
  readonly #waiting = new Set<WatchTarget>();
  readonly #toRemove = new Set<string>();
  #isFlushScheduled = false;
  #requests: RequestQueue<WatchInvocationsRequest> | undefined;
  #isRunning = false;
  /** When the stream was opened, or last brought a message. */
  #heardAtMs = 0;
  #stream = new AbortController();
  #wakeReconnect: (() => void) | undefined;
  #idleTimer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(service: WatchService, options: WatchSessionOptions = {}) {
    this.#service = service;
    this.#options = {
      silenceMs: LIMITS.silenceMs,
      idleMs: 200,
      firstReconnectMs: 100,
      mostFollowed: LIMITS.watchTargets,
      ...options,
    };
  }

  follow(invocationId: string, detail: WatchDetail, until: WatchUntil, sink: WatchSink): WatchHandle {
    const follower = new Follower(detail, until, sink, (leaving) => this.#leave(invocationId, leaving));
    if (this.#isClosed) {
      queueMicrotask(() => follower.fail(clientIsClosed()));
      return follower;
    }
    // The server refuses a message with a bad id as a whole, and with it all that others wait for.
    if (!isId("inv", invocationId)) {
      queueMicrotask(() => follower.fail(idIsBad(invocationId)));
      return follower;
    }
    let target = this.#targets.get(invocationId);
    if (target === undefined) {
      target = new WatchTarget(invocationId);
      this.#targets.set(invocationId, target);
    } else if (target.last !== undefined) {
      // The state now, for one who joins later. Not within this call: the caller has no handle yet.
      const known = target.last;
      queueMicrotask(() => follower.tell(known));
    }
    target.followers.push(follower);
    if (target.strengthen(detail, until)) this.#toAdd.add(target);
    this.#changed();
    return follower;
  }

  #leave(invocationId: string, follower: Follower): void {
    const target = this.#targets.get(invocationId);
    if (target === undefined) return;
    const place = target.followers.indexOf(follower);
    if (place >= 0) target.followers.splice(place, 1);
    if (target.followers.length > 0) return;
    this.#drop(target);
    if (target.wasSent) this.#toRemove.add(invocationId);
    this.#changed();
  }

  /** Nobody follows it any more. Another one takes its place. */
  #drop(target: WatchTarget): void {
    this.#targets.delete(target.invocationId);
    this.#toAdd.delete(target);
    this.#waiting.delete(target);
    if (!this.#followed.delete(target)) return;
    const [next] = this.#waiting;
    if (next === undefined) return;
    this.#waiting.delete(next);
    this.#toAdd.add(next);
    this.#changed();
  }

  /** Fails every watch and closes the stream. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#idleTimer);
    this.#failAll(new Unavailable("the client was closed"));
    this.#stream.abort();
    this.#wakeReconnect?.();
  }

  #changed(): void {
    clearTimeout(this.#idleTimer);
    if (this.#targets.size === 0) this.#scheduleIdle();
    else if (!this.#isRunning) void this.#run();
    if (this.#isFlushScheduled || this.#requests === undefined) return;
    this.#isFlushScheduled = true;
    queueMicrotask(() => {
      this.#isFlushScheduled = false;
      this.#flush();
    });
  }

  #scheduleIdle(): void {
    this.#idleTimer = setTimeout(() => {
      this.#endStream();
      this.#wakeReconnect?.();
    }, this.#options.idleMs);
    this.#idleTimer.unref();
  }

  /** In order: a server takes a client that resets many streams for an attacker, and breaks off its connection. */
  #endStream(): void {
    const stream = this.#stream;
    this.#requests?.close();
    this.#requests = undefined;
    setTimeout(() => stream.abort(), END_MS).unref();
  }

  /** Sends what has changed. Removals go first and by themselves: an id may have been removed and added again. */
  #flush(): void {
    const requests = this.#requests;
    if (requests === undefined) return;
    const size = LIMITS.watchTargetsPerMessage;
    if (this.#toRemove.size > 0) {
      for (const remove of chunksOf(this.#toRemove, size)) requests.push({ add: [], remove });
      this.#toRemove.clear();
    }
    if (this.#toAdd.size > 0) {
      for (const targets of chunksOf(this.#followable(), size)) {
        requests.push({ add: targets.map((target) => target.toWire()), remove: [] });
      }
      this.#toAdd.clear();
    }
  }

  /** Of what is to be told to the server, that for which there is room. */
  #followable(): ReadonlySet<WatchTarget> {
    if (this.#followed.size + this.#toAdd.size <= this.#options.mostFollowed) {
      for (const target of this.#toAdd) this.#followed.add(target);
      return this.#toAdd;
    }
    const followable = new Set<WatchTarget>();
    for (const target of this.#toAdd) {
      if (!this.#followed.has(target) && this.#followed.size >= this.#options.mostFollowed) {
        this.#waiting.add(target);
      } else {
        this.#followed.add(target);
        followable.add(target);
      }
    }
    return followable;
  }

  /** Ends the stream if nothing came on it since then: its replica may stand still. Another one goes on where it was. */
  leaveSilent(sinceMs: number): void {
    if (this.#requests === undefined || this.#heardAtMs > sinceMs) return;
    this.#stream.abort(silence("the watch stream is silent"));
  }

  /** Keeps a stream open while there is anything to follow. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    let failures = 0;
    while (this.#targets.size > 0 && !this.#isClosed) {
      const { error, hadMessages, wasIdle } = await this.#runStream();
      if (this.#targets.size === 0 || this.#isClosed) break;
      if (error instanceof MultinodeError && FINAL_CODES.has(error.code)) {
        this.#failAll(error);
        break;
      }
      // Something came to be followed while the stream ended.
      if (wasIdle) continue;
      failures = hadMessages ? 0 : failures + 1;
      await this.#pause(failures);
    }
    this.#isRunning = false;
    // Something may have been added while the last stream was ending.
    if (this.#targets.size > 0 && !this.#isClosed) void this.#run();
  }

  /** One stream, until it ends, whatever the reason. Never throws. */
  async #runStream(): Promise<{ error: unknown; hadMessages: boolean; wasIdle: boolean }> {
    const stream = new AbortController();
    const requests = new RequestQueue<WatchInvocationsRequest>();
    this.#stream = stream;
    this.#requests = requests;
    this.#toRemove.clear();
    this.#followed.clear();
    this.#waiting.clear();
    for (const target of this.#targets.values()) this.#toAdd.add(target);
    this.#flush();
    this.#heardAtMs = performance.now();
    const timer = setTimeout(() => stream.abort(silence("the watch stream is silent")), this.#options.silenceMs);
    let hadMessages = false;
    try {
      for await (const response of this.#service.watchInvocations(requests, { signal: stream.signal })) {
        hadMessages = true;
        this.#heardAtMs = performance.now();
        timer.refresh();
        this.#receive(response);
      }
      return { error: undefined, hadMessages, wasIdle: this.#requests !== requests };
    } catch (error) {
      return { error, hadMessages, wasIdle: this.#requests !== requests };
    } finally {
      clearTimeout(timer);
      requests.close();
      this.#requests = undefined;
    }
  }

  #receive(response: WatchInvocationsResponse): void {
    for (const wire of response.invocations) {
      const target = this.#targets.get(wire.invocationId);
      if (target !== undefined && wire.revision > target.revision) this.#advance(target, wire);
    }
    for (const { invocationId, error } of response.refusals) {
      const target = this.#targets.get(invocationId);
      if (target === undefined) continue;
      this.#drop(target);
      const reason = errorFromStatus(error ?? { code: Status.UNKNOWN, message: "it cannot be watched", details: [] });
      for (const follower of target.followers) follower.fail(copyOf(reason));
    }
    if (this.#targets.size === 0) this.#changed();
  }

  #advance(target: WatchTarget, wire: WireInvocation): void {
    target.revision = wire.revision;
    let invocation: Invocation;
    try {
      invocation = invocationFromWire(wire);
    } catch (error) {
      this.#drop(target);
      for (const follower of target.followers) follower.fail(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    target.last = invocation;
    const staying: Follower[] = [];
    for (const follower of target.followers) {
      if (!follower.tell(invocation)) staying.push(follower);
    }
    target.followers = staying;
    if (staying.length > 0) return;
    this.#drop(target);
    // The server lets go by itself of what has ended as it was asked to.
    if (!isEnd(invocation, target.until)) {
      this.#toRemove.add(target.invocationId);
      this.#changed();
    }
  }

  #failAll(error: MultinodeError): void {
    const targets = [...this.#targets.values()];
    this.#targets.clear();
    this.#toAdd.clear();
    this.#followed.clear();
    this.#waiting.clear();
    for (const target of targets) {
      for (const follower of target.followers) follower.fail(copyOf(error));
    }
  }

  /** Waits before the next connection, 100 ms to 2 s with jitter; a close or an idle session ends the wait. */
  #pause(failures: number): Promise<void> {
    const { firstReconnectMs } = this.#options;
    const ceilingMs = Math.min(LONGEST_RECONNECT_MS, firstReconnectMs * 2 ** Math.min(failures, 10));
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ceilingMs * (0.5 + Math.random() / 2));
    this.#wakeReconnect = resolve;
    return promise.finally(() => {
      clearTimeout(timer);
      this.#wakeReconnect = undefined;
    });
  }
}

function idIsBad(invocationId: string): ParameterValidationError {
  const description = `${JSON.stringify(invocationId)} is not an identifier: "inv-" and 26 characters`;
  return new ParameterValidationError(`invocationId: ${description}`, {
    violations: [{ field: "invocationId", description }],
  });
}

function* chunksOf<T>(items: ReadonlySet<T>, size: number): Generator<T[]> {
  const all = [...items];
  for (let start = 0; start < all.length; start += size) yield all.slice(start, start + size);
}
