/**
 * The bus between services without a message server: each subscribes to what the others publish, over gRPC, and comes
 * again when the stream breaks. What is published meanwhile is lost, as events may be.
 */
import { setTimeout as delay } from "node:timers/promises";
import type {
  EventServiceClient,
  EventServiceImplementation,
} from "../../../gen/multinode/event/v1/event_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { Bell } from "../bell.js";
import { badRequest } from "../errors.js";
import type { Caller } from "../rpc/principal.js";
import { type Bus, EVENT_KINDS, type EventBody, type EventKind, kindOfSubject, subjectOf } from "./bus.js";
import { MemoryBus } from "./memory.js";

const RECONNECT_MS = 200;
/** Events that wait for a slow subscriber; older ones are dropped. */
const MOST_WAITING = 10_000;

export class PeerBus implements Bus {
  /** What this service publishes. */
  readonly #own = new MemoryBus();
  /** That, and what the peers publish. */
  readonly #all = new MemoryBus();
  readonly #stopping = new AbortController();
  readonly #followers: Promise<void>[];

  constructor(peers: readonly Pick<EventServiceClient, "subscribe">[]) {
    this.#followers = peers.map((peer) => this.#follow(peer));
  }

  publish(event: EventBody): void {
    this.#own.publish(event);
    this.#all.publish(event);
  }

  subscribe(kind: EventKind, listener: (event: EventBody) => void, missed?: () => void): () => void {
    return this.#all.subscribe(kind, listener, missed);
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([...this.#followers, this.#own.close(), this.#all.close()]);
  }

  async #follow(peer: Pick<EventServiceClient, "subscribe">): Promise<void> {
    const { signal } = this.#stopping;
    const subjects = EVENT_KINDS.map(subjectOf);
    while (!signal.aborted) {
      let hears = false;
      try {
        for await (const { events } of peer.subscribe({ subjects }, { signal })) {
          // The first message says that the peer is there: what it published before was lost.
          if (!hears) this.#all.tellMissed();
          hears = true;
          for (const { event } of events) if (event !== undefined) this.#all.publish(event);
        }
      } catch {
        // The peer is away. Whoever listens looks for itself meanwhile.
      }
      await delay(RECONNECT_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** What the peers of this service call. */
  service(): EventServiceImplementation<Caller> {
    const own = this.#own;
    return {
      async *subscribe({ subjects }, { signal }) {
        const kinds = subjects.map((subject, index) => {
          const kind = kindOfSubject(subject);
          if (kind !== undefined) return kind;
          throw badRequest([{ field: `subjects[${index}]`, description: `"${subject}" is not a subject` }]);
        });
        let waiting: EventBody[] = [];
        const bell = new Bell();
        const tell = (event: EventBody) => {
          waiting.push(event);
          if (waiting.length > MOST_WAITING) waiting.shift();
          bell.ring();
        };
        const unsubscribes = kinds.map((kind) => own.subscribe(kind, tell));
        try {
          yield { events: [] };
          while (!signal.aborted) {
            if (waiting.length === 0) await bell.wait(LIMITS.heartbeatIntervalMs, signal);
            const events = waiting;
            waiting = [];
            yield { events: events.map((event) => ({ event })) };
          }
        } finally {
          for (const unsubscribe of unsubscribes) unsubscribe();
        }
      },
    };
  }
}
