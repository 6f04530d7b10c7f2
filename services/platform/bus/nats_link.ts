/**
 * One connection to a NATS server, from its beginning to its end. It never comes back: whoever holds it opens another.
 * The library's own reconnecting is not used, because it can wait for ever on a connection whose peer has stopped
 * reading: it flushes before it closes.
 */
import { connect as connectTcp } from "node:net";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { type NatsAddress, serverOf } from "./nats_address.js";

/** Bound of one attempt to connect, and the same for the first sign of life of a server. */
const CONNECT_TIMEOUT_MS = 3_000;
const GREETING_TIMEOUT_MS = 2_000;
/** A peer that does not answer two pings is gone. */
const PING_INTERVAL_MS = 10_000;
const MOST_PINGS_OUT = 2;
/** What was published is confirmed by a ping after each so many bytes; above the bound it is dropped. */
const CONFIRM_BYTES = 64 * 1024;
const MOST_UNCONFIRMED_BYTES = 4 * 1024 * 1024;
/** What a message takes beside its data, roughly. */
const MESSAGE_OVERHEAD_BYTES = 64;
/** How long the end waits for what was published last. */
const LAST_WORDS_MS = 500;

export interface LinkOptions {
  readonly address: NatsAddress;
  /** Certificates, in PEM, that the server's one must descend from; default: the well-known ones. */
  readonly caFile: string | undefined;
  /** Named in the server's monitoring, and the beginning of its inboxes. */
  readonly name: string;
  /** The server refuses what this service wants to do. */
  readonly refused: (message: string) => void;
}

/** Rejects when the server cannot be reached within seconds, or when `signal` aborts. */
export async function openLink(options: LinkOptions, signal: AbortSignal): Promise<NatsLink> {
  await greeting(options.address, signal);
  const connecting = connectOnce(options);
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(new Error("closed"));
  signal.addEventListener("abort", abort);
  try {
    return new NatsLink(await Promise.race([connecting, aborted]), options.refused);
  } catch (error) {
    // One that still comes is not wanted any more.
    void connecting.then(
      (late) => late.close(),
      () => undefined,
    );
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

/** The library keeps the socket of an attempt that a server accepted and never answered; so it is asked first. */
async function greeting({ host, port }: NatsAddress, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = connectTcp({ host, port, signal });
    socket.setTimeout(GREETING_TIMEOUT_MS, () => socket.destroy(new Error("the server accepts, but says nothing")));
    socket.once("data", () => {
      resolve();
      socket.destroy();
    });
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("the server closed the connection")));
  });
}

async function connectOnce({ address, caFile, name }: LinkOptions): Promise<NatsConnection> {
  // `host` is what the certificate must be for where the address is an IP address.
  const tls = { host: address.host, ...(caFile === undefined ? {} : { caFile }) };
  return await connect({
    servers: serverOf(address),
    user: address.user,
    pass: address.password,
    name: `multinode-${name}`,
    inboxPrefix: `_INBOX_${name}`,
    // A service hears its own events without the server.
    noEcho: true,
    reconnect: false,
    ignoreClusterUpdates: true,
    timeout: CONNECT_TIMEOUT_MS,
    pingInterval: PING_INTERVAL_MS,
    maxPingOut: MOST_PINGS_OUT,
    noAsyncTraces: true,
    // Null would never encrypt, undefined would if the server offers it.
    ...(address.tls ? { tls } : {}),
  });
}

export class NatsLink {
  /** Resolves to the reason when the connection is of no use any more. */
  readonly lost: Promise<string>;
  readonly #connection: NatsConnection;
  #isOpen = true;
  #unconfirmedBytes = 0;
  #isConfirming = false;

  constructor(connection: NatsConnection, refused: (message: string) => void) {
    this.#connection = connection;
    this.lost = Promise.race([
      this.#watch(refused),
      connection.closed().then((error) => error?.message ?? "the connection was closed"),
    ]);
    void this.lost.then(() => {
      this.#isOpen = false;
    });
  }

  /** Answers false where it was dropped: the connection is lost, the peer does not keep up, or the message is too large. */
  publish(subject: string, data: Uint8Array): boolean {
    if (!this.#isOpen || this.#unconfirmedBytes > MOST_UNCONFIRMED_BYTES) return false;
    try {
      this.#connection.publish(subject, data);
    } catch {
      return false;
    }
    this.#unconfirmedBytes += data.byteLength + MESSAGE_OVERHEAD_BYTES;
    if (this.#unconfirmedBytes >= CONFIRM_BYTES && !this.#isConfirming) void this.#confirm();
    return true;
  }

  /** Answers how to end it. `listener` must not throw, since the library would then read no more. */
  subscribe(subject: string, listener: (data: Uint8Array) => void): () => void {
    if (!this.#isOpen || this.#connection.isClosed()) return () => undefined;
    const subscription = this.#connection.subscribe(subject, {
      callback: (error, message) => {
        if (error === null) listener(message.data);
      },
    });
    return () => {
      if (this.#isOpen) subscription.unsubscribe();
    };
  }

  /** Resolves when the server has taken in all that was said so far, or the connection is lost. */
  async settled(): Promise<void> {
    await Promise.race([this.#connection.flush().catch(() => undefined), this.lost]);
  }

  /** Waits a moment for what was published last. */
  async close(): Promise<void> {
    if (this.#isOpen) await within(LAST_WORDS_MS, this.settled());
    this.#isOpen = false;
    await within(LAST_WORDS_MS, this.#connection.close());
  }

  async #watch(refused: (message: string) => void): Promise<string> {
    for await (const status of this.#connection.status()) {
      if (status.type === "error") refused(status.error.message);
      // Said before the library has closed it, which it may never do.
      if (status.type === "staleConnection") return "the server does not answer";
      if (status.type === "disconnect") return "the connection broke";
    }
    return "the connection was closed";
  }

  async #confirm(): Promise<void> {
    this.#isConfirming = true;
    const sentBytes = this.#unconfirmedBytes;
    try {
      await this.#connection.flush();
      this.#unconfirmedBytes -= sentBytes;
    } catch {
      // The connection is lost, and this object with it.
    }
    this.#isConfirming = false;
  }
}

/** Waits for it, and no longer than so. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  const { promise: over, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work, over]);
  clearTimeout(timer);
}
