/** What a watch session knows of one invocation, and of those who follow it. */
import {
  WatchDetail as WireDetail,
  type WatchTarget as WireTarget,
  WatchUntil as WireUntil,
} from "../../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { type Invocation, isFinishedStatus } from "../invocation.js";
import type { WatchDetail, WatchHandle, WatchSink, WatchUntil } from "./invocation_client.js";

/** Whether this is the state that ends a watch. */
export function isEnd(invocation: Invocation, until: WatchUntil): boolean {
  return until === "finished" ? isFinishedStatus(invocation.status) : invocation.terminated;
}

/** One invocation that is followed. */
export class WatchTarget {
  readonly invocationId: string;
  followers: Follower[] = [];
  /** Highest revision that was received; 0: none. */
  revision = 0;
  last: Invocation | undefined = undefined;
  detail: WatchDetail = "end";
  until: WatchUntil = "finished";
  /** Whether the server may have heard of it. */
  wasSent = false;
  #isNew = true;

  constructor(invocationId: string) {
    this.invocationId = invocationId;
  }

  /** Asks for more, if it is more. Answers whether the server has to be told. */
  strengthen(detail: WatchDetail, until: WatchUntil): boolean {
    const wasNew = this.#isNew;
    this.#isNew = false;
    // One waits for the finished state, another for the terminated one: only CHANGES brings both.
    const mixed = !wasNew && until !== this.until;
    const nextDetail = detail === "changes" || this.detail === "changes" || mixed ? "changes" : "end";
    const nextUntil = until === "terminated" || this.until === "terminated" ? "terminated" : "finished";
    const isStronger = wasNew || nextDetail !== this.detail || nextUntil !== this.until;
    this.detail = nextDetail;
    this.until = nextUntil;
    return isStronger;
  }

  toWire(): WireTarget {
    this.wasSent = true;
    return {
      invocationId: this.invocationId,
      afterRevision: this.revision,
      detail: this.detail === "changes" ? WireDetail.CHANGES : WireDetail.END,
      until: this.until === "terminated" ? WireUntil.TERMINATED : WireUntil.FINISHED,
    };
  }
}

/** One who waits. */
export class Follower implements WatchHandle {
  readonly #leave: (follower: Follower) => void;
  readonly #detail: WatchDetail;
  readonly #until: WatchUntil;
  readonly #sink: WatchSink;
  #revision = 0;
  #isOver = false;

  /** `leave` is called when the watch is closed before its end. */
  constructor(detail: WatchDetail, until: WatchUntil, sink: WatchSink, leave: (follower: Follower) => void) {
    this.#detail = detail;
    this.#until = until;
    this.#sink = sink;
    this.#leave = leave;
  }

  /** Answers whether the watch is over. */
  tell(invocation: Invocation): boolean {
    if (this.#isOver || invocation.revision <= this.#revision) return this.#isOver;
    this.#revision = invocation.revision;
    this.#isOver = isEnd(invocation, this.#until);
    if (this.#isOver || this.#detail === "changes") this.#sink.changed(invocation);
    return this.#isOver;
  }

  fail(error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#sink.unwatchable(error);
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#leave(this);
  }
}
