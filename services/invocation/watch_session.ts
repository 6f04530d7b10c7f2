/** One watch stream: what it follows, what of that may have changed, and what to send next. */
import type { Invocation } from "../../gen/multinode/invocation/v1/invocation.pb.js";
import {
  WatchDetail,
  type WatchInvocationsResponse,
  type WatchTarget,
  WatchUntil,
} from "../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { Bell } from "../platform/bell.js";
import { Refusal } from "../platform/errors.js";
import { toRpcStatus } from "../platform/rpc/error_status.js";
import { invocationDoesNotExist } from "./access.js";
import { toInvocation } from "./convert.js";
import { type Life, NEW_LIFE } from "./domain/life.js";
import type { StoredInvocation } from "./store.js";
import { type Progress, progressOf, type Watcher, type WatchHub } from "./watch_hub.js";

/** So many bytes are kept of the states that were offered to a session and are not yet sent; the others are read. */
const KEPT_BYTES = 2 * LIMITS.watchMessageBytes;
const NONE: readonly StoredInvocation[] = [];
/** States that are read at once: with results of any size, not many times of what a message holds. */
const READ_AT_ONCE = 64;

/** That wait to be sent. */
const MOST_REFUSALS = 10_000;

interface Target {
  /** Revision that the watcher has. */
  revision: number;
  readonly endOnly: boolean;
  readonly untilTerminated: boolean;
  /** What was told last on this stream. */
  seen: Pick<Life, "status" | "startedAt"> | undefined;
  /** States that were offered and are newer than the watcher's, oldest first, while there is room: of each status the newest. */
  offered: readonly StoredInvocation[];
  /** The newest revision that was told. */
  told: number;
}

export interface WatchSource {
  /** A state that is at hand, of which every later one will be offered or hinted at. */
  known(id: string): StoredInvocation | undefined;
  load(ids: readonly string[]): Promise<readonly StoredInvocation[]>;
  /** Why this caller may not see the invocation; undefined: it may. */
  refusal(invocation: StoredInvocation): Refusal | undefined;
}

export class WatchSession implements Watcher {
  readonly #hub: WatchHub;
  readonly #source: WatchSource;
  readonly #targets = new Map<string, Target>();
  readonly #marked = new Set<string>();
  readonly #refusals: { invocationId: string; error: ReturnType<typeof toRpcStatus> }[] = [];
  /** Of all states that targets hold. */
  #keptBytes = 0;
  readonly #bell = new Bell();

  constructor(hub: WatchHub, source: WatchSource) {
    this.#hub = hub;
    this.#source = source;
  }

  get size(): number {
    return this.#targets.size;
  }

  get hasWork(): boolean {
    return this.#marked.size > 0 || this.#refusals.length > 0;
  }

  /** @throws Refusal ResourceExhausted where there are too many, and the watcher reads nothing of that */
  add(target: WatchTarget): void {
    const id = target.invocationId;
    if (!this.#targets.has(id) && this.#targets.size >= LIMITS.watchTargets) {
      const limit = String(LIMITS.watchTargets);
      if (this.#refusals.length >= MOST_REFUSALS) {
        throw new Refusal("ResourceExhausted", `a stream follows at most ${limit}, and its refusals are not read`, {
          metadata: { limit },
        });
      }
      this.#refuse(id, new Refusal("ResourceExhausted", `a stream follows at most ${limit}`, { metadata: { limit } }));
      return;
    }
    const added: Target = {
      revision: target.afterRevision,
      endOnly: target.detail === WatchDetail.END,
      untilTerminated: target.until === WatchUntil.TERMINATED,
      seen: undefined,
      offered: NONE,
      told: 0,
    };
    this.#forgetOffered(id);
    this.#targets.set(id, added);
    this.#hub.add(id, this);
    if (this.#isToCome(id, added)) return;
    this.#marked.add(id);
    this.wake();
  }

  /** Whether nothing is to be told before a change that is still to come. */
  #isToCome(id: string, target: Target): boolean {
    const state = target.endOnly ? this.#source.known(id) : undefined;
    if (state === undefined || isAtEnd(progressOf(state.life), target)) return false;
    return this.#source.refusal(state) === undefined;
  }

  remove(id: string): void {
    this.#forgetOffered(id);
    if (this.#targets.delete(id)) this.#hub.remove(id, this);
    this.#marked.delete(id);
  }

  /** Looks at everything again, in case that hints were lost. */
  markAll(): void {
    for (const id of this.#targets.keys()) this.#marked.add(id);
    this.wake();
  }

  mark(id: string, progress: Progress, state?: StoredInvocation): void {
    const target = this.#targets.get(id);
    if (target === undefined || progress.revision <= target.revision) return;
    if (target.endOnly && !isAtEnd(progress, target)) return;
    // Two commits may be told in the wrong order, and one of them twice: with its state, and by a hint.
    if (progress.revision < target.told || isOffered(target, progress.revision)) return;
    target.told = progress.revision;
    // Where the newer state is not at hand, it is read.
    if (state !== undefined) this.#keep(target, withState(target, state));
    this.#marked.add(id);
    this.wake();
  }

  wake(): void {
    this.#bell.ring();
  }

  /** Answers when there is something to send, when `wake` is called, or after `atMostMs`. */
  async wait(atMostMs: number, signal: AbortSignal): Promise<void> {
    if (!this.hasWork) await this.#bell.wait(atMostMs, signal);
  }

  /** The next message; undefined where nothing that was marked has changed for this watcher. */
  async next(): Promise<WatchInvocationsResponse | undefined> {
    const ids = this.#firstMarked();
    const invocations: Invocation[] = [];
    let bytes = 0;
    for (let from = 0; from < ids.length && bytes < LIMITS.watchMessageBytes; from += READ_AT_ONCE) {
      const part = ids.slice(from, from + READ_AT_ONCE);
      for (const id of part) this.#marked.delete(id);
      const states = new Map<string, StoredInvocation>();
      const missing = part.filter((id) => !this.#isAtHand(id));
      if (missing.length > 0) {
        for (const state of await this.#source.load(missing)) states.set(state.identity.id, state);
      }
      for (const id of part) {
        const target = this.#targets.get(id);
        if (target === undefined) continue;
        if (bytes >= LIMITS.watchMessageBytes) {
          this.#marked.add(id);
          continue;
        }
        const found = newest(target, states.get(id));
        // What it held gave way to a newer state while others were read, and it was marked again for that.
        if (found.length === 0 && this.#marked.has(id)) continue;
        this.#keep(target, NONE);
        for (const message of this.#messagesOf(id, target, found)) {
          invocations.push(message);
          bytes += bytesOf(message.result?.data, message.error);
        }
      }
    }
    const refusals = this.#refusals.splice(0);
    return invocations.length === 0 && refusals.length === 0 ? undefined : { invocations, refusals };
  }

  close(): void {
    for (const id of this.#targets.keys()) this.#hub.remove(id, this);
    this.#targets.clear();
    this.#marked.clear();
    this.#keptBytes = 0;
    this.wake();
  }

  #firstMarked(): string[] {
    const ids = [];
    for (const id of this.#marked) {
      ids.push(id);
      if (ids.length === LIMITS.watchTargetsPerMessage) break;
    }
    return ids;
  }

  #isAtHand(id: string): boolean {
    const target = this.#targets.get(id);
    return target !== undefined && target.told > 0 && isOffered(target, target.told);
  }

  /** In place of what the target holds. Where a watcher reads too slowly, the results of all that it follows must not be kept. */
  #keep(target: Target, states: readonly StoredInvocation[]): void {
    this.#keptBytes -= bytesOfAll(target.offered);
    const bytes = bytesOfAll(states);
    target.offered = this.#keptBytes + bytes > KEPT_BYTES ? NONE : states;
    if (target.offered === states) this.#keptBytes += bytes;
  }

  #forgetOffered(id: string): void {
    const target = this.#targets.get(id);
    if (target !== undefined) this.#keep(target, NONE);
  }

  /** None found: it does not exist. */
  *#messagesOf(id: string, target: Target, found: readonly StoredInvocation[]): Generator<Invocation> {
    for (const each of found.length === 0 ? [undefined] : found) {
      // Of what was told until then.
      for (const state of each === undefined ? [undefined] : withRun(target, each)) {
        const message = this.#messageOf(id, target, state);
        if (message !== undefined) yield message;
        if (!this.#targets.has(id)) return;
      }
    }
  }

  #messageOf(id: string, target: Target, state: StoredInvocation | undefined): Invocation | undefined {
    const refusal = state === undefined ? invocationDoesNotExist(id) : this.#source.refusal(state);
    if (state === undefined || refusal !== undefined) {
      if (refusal !== undefined) this.#refuse(id, refusal);
      return undefined;
    }
    const atEnd = isAtEnd(progressOf(state.life), target);
    const isNews = state.life.revision > target.revision && (atEnd || !target.endOnly);
    if (!isNews && !atEnd) return undefined;
    target.revision = Math.max(target.revision, state.life.revision);
    target.seen = state.life;
    // What has ended is sent even if the watcher has it, since it is waiting for the end.
    if (atEnd) this.remove(id);
    return toInvocation(state);
  }

  #refuse(id: string, refusal: Refusal): void {
    this.remove(id);
    this.#refusals.push({ invocationId: id, error: toRpcStatus(refusal) });
    this.wake();
  }
}

/**
 * What began and ended with one change was RUNNING in between: a watcher that saw it wait is told of that, too. Not of a later
 * attempt that failed, of which the state does not say whether it began: the hub tells of those that this process changed.
 */
function withRun({ endOnly, seen, revision }: Target, state: StoredInvocation): StoredInvocation[] {
  const { life } = state;
  const hasBegun = life.startedAt !== null && (seen?.startedAt === null || life.status === "SUCCEEDED");
  const isPassed = seen?.status === "PENDING" && life.finishedAt !== null && hasBegun && life.revision > revision + 1;
  if (endOnly || !isPassed) return [state];
  const failedAttempts = life.failedAttempts - (life.status === "FAILED" ? 1 : 0);
  const running = { ...NEW_LIFE, status: "RUNNING", startedAt: life.startedAt, attempts: life.attempts } as const;
  return [{ ...state, life: { ...running, revision: life.revision - 1, failedAttempts } }, state];
}

function isAtEnd(progress: Progress, target: Target): boolean {
  return target.untilTerminated ? progress.terminated : progress.finished;
}

function isOffered({ offered }: Target, revision: number): boolean {
  return (offered.at(-1)?.life.revision ?? 0) >= revision;
}

/** Yields are merged into the newest; another status is not, nor another attempt. */
function withState({ offered, endOnly }: Target, state: StoredInvocation): StoredInvocation[] {
  const last = offered.at(-1);
  if (endOnly || last === undefined) return [state];
  const isMerged = isOfSameStage(last, state);
  return [...(isMerged ? offered.slice(0, -1) : offered), state];
}

function isOfSameStage({ life: a }: StoredInvocation, { life: b }: StoredInvocation): boolean {
  return a.status === b.status && a.failedAttempts === b.failedAttempts && a.terminated === b.terminated;
}

function newest(target: Target, read: StoredInvocation | undefined): readonly StoredInvocation[] {
  return read === undefined || isOffered(target, read.life.revision) ? target.offered : withState(target, read);
}

function bytesOfAll(states: readonly StoredInvocation[]): number {
  let bytes = 0;
  for (const { life } of states) bytes += bytesOf(life.result ?? undefined, life.error);
  return bytes;
}

function bytesOf(result: Uint8Array | undefined, error: string): number {
  return 256 + (result?.byteLength ?? 0) + error.length;
}
