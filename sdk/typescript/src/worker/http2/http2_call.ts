/**
 * One call on a connection of its own, in HTTP/2 (RFC 9113), as far as a client needs it for that. Node's own module reads the
 * certificates of all authorities of the world when it is loaded, also for plain text: a fifth of what a worker's boot costs.
 */
import { connect, isIP, type Socket } from "node:net";
import {
  contentOf,
  FLAG,
  FRAME,
  FRAME_BYTES,
  type Frame,
  FrameReader,
  frame,
  numberFrame,
  PREFACE,
  readSettings,
  SETTING,
  settingsFrame,
} from "./frames.js";
import { decodeHeaders, encodeHeaders, type Headers } from "./headers.js";

/** The only stream of the connection. */
const STREAM = 1;
/** How much may be on its way to us, before we say that we have read it. */
const WINDOW_BYTES = 1024 * 1024;
/** What each side may send before the other one allows more; and the most that it may ever allow. */
const INITIAL_WINDOW_BYTES = 65_535;
const LARGEST_WINDOW_BYTES = 2 ** 31 - 1;
const HEADER_BLOCK_BYTES = 64 * 1024;
const PROTOCOL = "h2";
const DEFAULT_PORTS: Readonly<Record<string, string>> = { "http:": "80", "https:": "443" };
const NO_BYTES = Buffer.alloc(0);
const PING_BYTES = 8;
const NO_ERROR = 0;

export interface Http2Handlers {
  /** At the beginning of the answer, and after its data. */
  readonly onHeaders: (headers: Headers) => void;
  readonly onData: (bytes: Buffer) => void;
  /** There is room for more after `write` answered that there is none. */
  readonly onDrain: () => void;
  /** The call is over. Undefined: the server has ended its answer. Called once, and not after `destroy`. */
  readonly onEnd: (problem: string | undefined) => void;
}

interface Unsent {
  readonly bytes: Uint8Array;
  sentBytes: number;
  readonly onWritten: (() => void) | undefined;
}

export class Http2Call {
  readonly #socket: Socket;
  readonly #handlers: Http2Handlers;
  readonly #reader = new FrameReader();
  #unsent: Unsent[] = [];
  #isFinished = false;
  #wasFull = false;
  #isOver = false;
  #frameBytes = FRAME_BYTES;
  #streamWindow = INITIAL_WINDOW_BYTES;
  #initialWindow = INITIAL_WINDOW_BYTES;
  #connectionWindow = INITIAL_WINDOW_BYTES;
  #unacknowledgedBytes = 0;
  /** Whether a handler is at work, or threw. */
  #isTelling = false;
  /** Of a frame of headers that others continue. */
  #block: { bytes: Buffer; readonly endsStream: boolean } | undefined;
  readonly #pings: (() => void)[] = [];

  /**
   * Connects, and calls.
   *
   * @param url "http://host:port", or "https://host:port" for TLS
   */
  constructor(url: string, path: string, headers: Headers, handlers: Http2Handlers) {
    const { protocol, host } = new URL(url);
    this.#handlers = handlers;
    this.#socket = open(url);
    this.#socket.setNoDelay(true);
    this.#socket.on("data", (chunk) => this.#receive(chunk));
    this.#socket.on("drain", () => this.#drain());
    this.#socket.on("error", (error) => this.#end(error.message));
    this.#socket.on("close", () => this.#end("the connection was closed"));
    const block = encodeHeaders({
      ":method": "POST",
      ":scheme": protocol.slice(0, -1),
      ":authority": host,
      ":path": path,
      ...headers,
    });
    this.#socket.write(
      Buffer.concat([
        PREFACE,
        settingsFrame({
          [SETTING.headerTableSize]: 0,
          [SETTING.enablePush]: 0,
          [SETTING.initialWindowSize]: WINDOW_BYTES,
        }),
        numberFrame(FRAME.windowUpdate, 0, WINDOW_BYTES - INITIAL_WINDOW_BYTES),
        frame(FRAME.headers, FLAG.endHeaders, STREAM, block),
      ]),
    );
  }

  /**
   * Sends bytes. False: wait for `onDrain` before the next ones.
   *
   * @param onWritten is called when they are with the operating system
   */
  write(bytes: Uint8Array, onWritten?: () => void): boolean {
    this.#unsent.push({ bytes, sentBytes: 0, onWritten });
    this.#flush();
    this.#wasFull = this.#unsent.length > 0 || this.#socket.writableNeedDrain;
    return !this.#wasFull;
  }

  /** Says that nothing more is sent. */
  finish(): void {
    this.#isFinished = true;
    this.#flush();
  }

  /** Asks the other end of the connection whether it is there. */
  ping(onAnswer: () => void): void {
    this.#pings.push(onAnswer);
    this.#socket.write(frame(FRAME.ping, 0, 0, Buffer.alloc(PING_BYTES)));
  }

  /** Ends the call and its connection. */
  destroy(): void {
    this.#isOver = true;
    this.#socket.destroy();
  }

  #end(problem: string | undefined): void {
    if (this.#isOver) return;
    this.destroy();
    this.#handlers.onEnd(problem);
  }

  /** Sends what the other side has room for. */
  #flush(): void {
    const isAlone = this.#unsent.length === 1 && (this.#unsent[0]?.bytes.byteLength ?? 0) <= this.#frameBytes;
    if (!isAlone) this.#socket.cork();
    for (let next = this.#unsent[0]; next !== undefined; next = this.#unsent[0]) {
      const { bytes, sentBytes, onWritten } = next;
      const room = Math.min(this.#streamWindow, this.#connectionWindow, this.#frameBytes);
      const end = Math.min(bytes.byteLength, sentBytes + Math.max(room, 0));
      if (end === sentBytes && bytes.byteLength > 0) break;
      const isWhole = end === bytes.byteLength;
      this.#streamWindow -= end - sentBytes;
      this.#connectionWindow -= end - sentBytes;
      next.sentBytes = end;
      if (isWhole) this.#unsent.shift();
      const data = frame(FRAME.data, 0, STREAM, bytes.subarray(sentBytes, end));
      this.#socket.write(data, isWhole && onWritten !== undefined ? (error) => error ?? onWritten() : undefined);
    }
    if (this.#isFinished && this.#unsent.length === 0) {
      this.#isFinished = false;
      this.#socket.write(frame(FRAME.data, FLAG.endStream, STREAM, NO_BYTES));
    }
    if (!isAlone) this.#socket.uncork();
  }

  #tell(tell: () => void): void {
    this.#isTelling = true;
    tell();
    this.#isTelling = false;
  }

  #drain(): void {
    if (!this.#wasFull || this.#unsent.length > 0 || this.#socket.writableNeedDrain) return;
    this.#wasFull = false;
    this.#tell(() => this.#handlers.onDrain());
  }

  #receive(chunk: Buffer): void {
    try {
      this.#reader.add(chunk);
      for (let next = this.#reader.next(); next !== undefined && !this.#isOver; next = this.#reader.next()) {
        this.#handle(next);
      }
    } catch (error) {
      // The peer's fault, or a handler's own.
      if (!(error instanceof RangeError) || this.#isTelling) throw error;
      this.#end(error.message);
    }
  }

  #handle(received: Frame): void {
    const { type, flags, streamId, payload } = received;
    if (this.#block !== undefined && type !== FRAME.continuation) throw new RangeError("headers are not continued");
    switch (type) {
      case FRAME.data:
        this.#readData(received);
        break;
      case FRAME.headers:
        this.#block = { bytes: NO_BYTES, endsStream: (flags & FLAG.endStream) !== 0 };
        this.#readHeaders(contentOf(received), flags);
        break;
      case FRAME.continuation:
        this.#readHeaders(payload, flags);
        break;
      case FRAME.reset:
        this.#end(`the call was reset with code ${payload.readUInt32BE(0)}`);
        break;
      case FRAME.settings:
        if (!(flags & FLAG.ack)) this.#applySettings(payload);
        break;
      case FRAME.push:
        throw new RangeError("the server pushes");
      case FRAME.ping:
        if (flags & FLAG.ack) this.#pings.shift()?.();
        else this.#socket.write(frame(FRAME.ping, FLAG.ack, 0, payload));
        break;
      case FRAME.goAway:
        this.#readGoAway(payload);
        break;
      case FRAME.windowUpdate:
        this.#widen(streamId, payload.readUInt32BE(0) & LARGEST_WINDOW_BYTES);
        break;
    }
  }

  #readData(received: Frame): void {
    this.#unacknowledgedBytes += received.payload.byteLength;
    const content = contentOf(received);
    this.#tell(() => this.#handlers.onData(content));
    if (this.#isOver) return;
    if (received.flags & FLAG.endStream) {
      this.#end(undefined);
    } else if (this.#unacknowledgedBytes > WINDOW_BYTES / 2) {
      this.#socket.write(numberFrame(FRAME.windowUpdate, 0, this.#unacknowledgedBytes));
      this.#socket.write(numberFrame(FRAME.windowUpdate, STREAM, this.#unacknowledgedBytes));
      this.#unacknowledgedBytes = 0;
    }
  }

  #readHeaders(part: Buffer, flags: number): void {
    const block = this.#block;
    if (block === undefined) throw new RangeError("headers go on that have not begun");
    block.bytes = block.bytes.byteLength === 0 ? part : Buffer.concat([block.bytes, part]);
    if (block.bytes.byteLength > HEADER_BLOCK_BYTES) throw new RangeError("headers are too large");
    if (!(flags & FLAG.endHeaders)) return;
    this.#block = undefined;
    const headers = decodeHeaders(block.bytes);
    this.#tell(() => this.#handlers.onHeaders(headers));
    if (block.endsStream) this.#end(undefined);
  }

  #applySettings(payload: Buffer): void {
    for (const [id, value] of readSettings(payload)) {
      if (id === SETTING.maxFrameSize) this.#frameBytes = Math.min(Math.max(value, FRAME_BYTES), WINDOW_BYTES);
      if (id !== SETTING.initialWindowSize) continue;
      if (value > LARGEST_WINDOW_BYTES) throw new RangeError(`the server allows ${value} bytes at once`);
      this.#streamWindow += value - this.#initialWindow;
      this.#initialWindow = value;
    }
    this.#socket.write(frame(FRAME.settings, FLAG.ack, 0, NO_BYTES));
    this.#afterWidening();
  }

  /** A server that ends in order still ends the calls that it has. */
  #readGoAway(payload: Buffer): void {
    const lastStreamId = payload.readUInt32BE(0) & 0x7fffffff;
    const code = payload.readUInt32BE(4);
    if (lastStreamId < STREAM || code !== NO_ERROR) this.#end(`the server ends the connection with code ${code}`);
  }

  #widen(streamId: number, bytes: number): void {
    if (streamId === 0) this.#connectionWindow += bytes;
    else this.#streamWindow += bytes;
    if (Math.max(this.#connectionWindow, this.#streamWindow) > LARGEST_WINDOW_BYTES) {
      throw new RangeError("the server allows more bytes than there can be");
    }
    this.#afterWidening();
  }

  #afterWidening(): void {
    if (this.#unsent.length === 0) return;
    this.#flush();
    this.#drain();
  }
}

function open(url: string): Socket {
  const { protocol, hostname, port } = new URL(url);
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  const to = { host, port: Number(port || DEFAULT_PORTS[protocol]) };
  if (protocol !== "https:") return connect(to);
  // Loaded only here: see above.
  const tls = process.getBuiltinModule("node:tls");
  const socket = tls.connect({ ...to, ALPNProtocols: [PROTOCOL], ...(isIP(host) > 0 ? {} : { servername: host }) });
  socket.once("secureConnect", () => {
    if (socket.alpnProtocol !== PROTOCOL) socket.destroy(new Error("the server does not speak HTTP/2"));
  });
  return socket;
}
