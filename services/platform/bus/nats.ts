/**
 * The bus over NATS: core messages, without JetStream, since events are hints. Everything works without the server, only
 * later.
 *
 * N1. What a service publishes itself, it hears without the server.
 * N2. While there is no connection, events to and from others are lost; nothing is kept for later.
 * N3. A connection is tried for again for ever. Once there is one, listeners are told that they may have missed events.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Event } from "../../../gen/multinode/event/v1/event.pb.js";
import type { Logger } from "../log.js";
import { type Bus, type EventBody, type EventKind, kindOf, subjectOf } from "./bus.js";
import { MemoryBus } from "./memory.js";
import { type NatsAddress, serverOf } from "./nats_address.js";
import { type NatsLink, openLink } from "./nats_link.js";
import { splitEvent } from "./split.js";

/** Between two attempts: this long, and up to as long again, so that the services do not all come at once. */
const RECONNECT_MS = 500;

export interface NatsBusOptions {
  /** Tried in turn. */
  readonly addresses: readonly NatsAddress[];
  /** Default: the well-known certificate authorities. */
  readonly caFile?: string | undefined;
  /** Which service this is, such as "registry". */
  readonly service: string;
  readonly log: Logger;
}

interface Interest {
  count: number;
  end: () => void;
}

export class NatsBus implements Bus {
  readonly #options: NatsBusOptions;
  /** This service's own events, and those that come from the server. */
  readonly #heard = new MemoryBus();
  /** What this service listens to. */
  readonly #interests = new Map<EventKind, Interest>();
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #link: NatsLink | undefined;
  #lostEvents = 0;

  constructor(options: NatsBusOptions) {
    this.#options = options;
    this.#running = this.#run();
  }

  publish(event: EventBody): void {
    this.#heard.publish(event);
    if (this.#stopping.signal.aborted) return;
    const subject = subjectOf(kindOf(event));
    for (const part of splitEvent(event)) {
      const isSent = this.#link?.publish(subject, Event.encode({ event: part }).finish()) ?? false;
      if (!isSent) this.#lostEvents += 1;
    }
  }

  subscribe(kind: EventKind, listener: (event: EventBody) => void, missed?: () => void): () => void {
    const unsubscribe = this.#heard.subscribe(kind, listener, missed);
    const interest = this.#interests.get(kind) ?? { count: 0, end: this.#hear(kind) };
    interest.count += 1;
    this.#interests.set(kind, interest);
    let isOver = false;
    return () => {
      unsubscribe();
      if (isOver) return;
      isOver = true;
      interest.count -= 1;
      if (interest.count > 0) return;
      interest.end();
      this.#interests.delete(kind);
    };
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([this.#running, this.#heard.close()]);
  }

  async #run(): Promise<void> {
    const { addresses, caFile, service, log } = this.#options;
    const { signal } = this.#stopping;
    const stopped = new Promise<string>((resolve) => {
      signal.addEventListener("abort", () => resolve("closed"));
    });
    let isTold = false;
    for (let attempt = 0; !signal.aborted; attempt++) {
      const address = addresses[attempt % addresses.length];
      if (address === undefined) throw new Error("the bus was given no server");
      const server = serverOf(address);
      const refused = (reason: string) => log.error({ server, reason }, "NATS refuses an event or a subscription");
      try {
        const link = await openLink({ address, caFile, name: service, refused }, signal);
        await this.#begin(link);
        log.info({ server, lostEvents: this.#lostEvents }, "connected to NATS");
        isTold = false;
        this.#lostEvents = 0;
        const reason = await Promise.race([link.lost, stopped]);
        this.#link = undefined;
        await link.close();
        if (!signal.aborted) log.warn({ server, reason }, "the connection to NATS is lost; trying again");
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        // Once for each time that it is away.
        if (!isTold && !signal.aborted) log.warn({ server, reason }, "NATS cannot be reached; trying again");
        isTold = true;
      }
      await delay(RECONNECT_MS * (1 + Math.random()), undefined, { signal }).catch(() => undefined);
    }
  }

  async #begin(link: NatsLink): Promise<void> {
    this.#link = link;
    for (const [kind, interest] of this.#interests) interest.end = this.#hear(kind);
    // Only when the server knows the subscriptions, nothing is missed any more.
    await link.settled();
    this.#heard.tellMissed();
  }

  #hear(kind: EventKind): () => void {
    const { log } = this.#options;
    return (
      this.#link?.subscribe(subjectOf(kind), (data) => {
        const event = readEvent(data);
        // One of another kind was published by someone who may not publish that kind.
        if (event !== undefined && kindOf(event) === kind) this.#heard.publish(event);
        else log.debug({ kind }, "a message that is no event of its kind was passed over");
      }) ?? (() => undefined)
    );
  }
}

/** Undefined for what is no event, or one that only a newer version knows. */
function readEvent(data: Uint8Array): EventBody | undefined {
  try {
    return Event.decode(data).event;
  } catch {
    return undefined;
  }
}
