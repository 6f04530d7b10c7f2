/**
 * The part of gRPC that a worker needs: a call with a stream of messages each way. A worker boots for nearly every execution,
 * and loading a whole gRPC library takes longer than all else that this thread does.
 */
import { LIMITS } from "../protocol/limits.js";
import type { Headers } from "./http2/headers.js";
import { Http2Call } from "./http2/http2_call.js";

const FRAME_HEADER_BYTES = 5;
const STATUS_OK = "0";
const STATUS_UNAVAILABLE = "14";

/** How often a connection is tried, and how long the answer may take: together well below the fence. */
const PING_INTERVAL_MS = 5_000;
const PING_TIMEOUT_MS = 4_000;

/** A call that ended with another status than OK. */
export class CallFailedError extends Error {
  override readonly name = "CallFailedError";
  /** Whether the server was not reached, was lost, or said that the call may be made again. */
  readonly mayRepeat: boolean;

  constructor(message: string, mayRepeat: boolean) {
    super(message);
    this.mayRepeat = mayRepeat;
  }
}

export interface CallHandlers {
  readonly onMessage: (bytes: Buffer) => void;
  /** The call is over: with status OK, or with the error. Called once. */
  readonly onEnd: (error: CallFailedError | undefined) => void;
  /** There is room for more after `send` answered that there is none. */
  readonly onDrain: () => void;
}

/** One connection with one call on it. */
export class GrpcCall {
  readonly #call: Http2Call;
  readonly #handlers: CallHandlers;
  /** What was received and is no whole message yet. */
  #chunks: Buffer[] = [];
  #receivedBytes = 0;
  /** Bytes with which the next step can be made; the chunks are joined then, and not for each that comes. */
  #neededBytes = FRAME_HEADER_BYTES;
  #status: string | undefined;
  #httpStatus = "";
  #statusMessage = "";
  #hasEnded = false;
  #pingTimer: NodeJS.Timeout | undefined;

  /**
   * @param url "http://host:port", or "https://host:port" for TLS
   * @param path "/package.Service/Method"
   */
  constructor(url: string, path: string, token: string, handlers: CallHandlers) {
    this.#handlers = handlers;
    const headers = { "content-type": "application/grpc+proto", te: "trailers", authorization: `Bearer ${token}` };
    this.#call = new Http2Call(url, path, headers, {
      onHeaders: (received) => this.#readHeaders(received),
      onData: (chunk) => this.#receive(chunk),
      onDrain: () => this.#handlers.onDrain(),
      onEnd: (problem) => this.#end(problem ?? `the call ended without a status${this.#httpStatus}`),
    });
    this.#pingTimer = setTimeout(() => this.#ping(), PING_INTERVAL_MS);
  }

  /**
   * Sends a message. False: wait for `onDrain` before the next one.
   *
   * @param onWritten is called when the bytes are with the operating system
   */
  send(message: Uint8Array, onWritten?: () => void): boolean {
    const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + message.byteLength);
    frame.writeUInt8(0, 0);
    frame.writeUInt32BE(message.byteLength, 1);
    frame.set(message, FRAME_HEADER_BYTES);
    return this.#call.write(frame, onWritten);
  }

  /** Says that no message follows. */
  finishSending(): void {
    this.#call.finish();
  }

  /** Ends the call and its connection, without a call of `onEnd`. */
  close(): void {
    this.#hasEnded = true;
    clearTimeout(this.#pingTimer);
    this.#call.destroy();
  }

  #readHeaders(headers: Headers): void {
    if (headers[":status"] !== undefined) this.#httpStatus = `, by HTTP's ${headers[":status"]}`;
    const status = headers["grpc-status"];
    if (status === undefined) return;
    this.#status = status;
    this.#statusMessage = decodeMessage(headers["grpc-message"] ?? "");
  }

  #receive(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#receivedBytes += chunk.byteLength;
    if (this.#receivedBytes < this.#neededBytes) return;
    let received = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#receivedBytes);
    this.#neededBytes = FRAME_HEADER_BYTES;
    while (!this.#hasEnded && received.byteLength >= FRAME_HEADER_BYTES) {
      const sizeBytes = received.readUInt32BE(1);
      if (received.readUInt8(0) !== 0 || sizeBytes > LIMITS.messageBytes) {
        this.#end("a message was compressed or too large");
        return;
      }
      const end = FRAME_HEADER_BYTES + sizeBytes;
      if (received.byteLength < end) {
        this.#neededBytes = end;
        break;
      }
      const message = received.subarray(FRAME_HEADER_BYTES, end);
      received = received.subarray(end);
      this.#handlers.onMessage(message);
    }
    this.#chunks = received.byteLength === 0 ? [] : [received];
    this.#receivedBytes = received.byteLength;
  }

  #ping(): void {
    this.#pingTimer = setTimeout(() => this.#end("the server does not answer"), PING_TIMEOUT_MS);
    this.#call.ping(() => {
      if (this.#hasEnded) return;
      clearTimeout(this.#pingTimer);
      this.#pingTimer = setTimeout(() => this.#ping(), PING_INTERVAL_MS);
    });
  }

  #end(problem: string): void {
    if (this.#hasEnded) return;
    this.close();
    if (this.#status === STATUS_OK) {
      this.#handlers.onEnd(undefined);
      return;
    }
    const mayRepeat = this.#status === undefined || this.#status === STATUS_UNAVAILABLE;
    this.#handlers.onEnd(new CallFailedError(this.#statusMessage || problem, mayRepeat));
  }
}

/** grpc-message is percent-encoded. */
function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
