/** Against Node's own HTTP/2, and against a peer that sends what no server should. */
import { once } from "node:events";
import { constants, createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { FLAG, FRAME, frame, numberFrame, SETTING, settingsFrame } from "./frames.js";
import type { Headers } from "./headers.js";
import { Http2Call } from "./http2_call.js";

const MIB = 1024 * 1024;
const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

interface Heard {
  readonly headers: Headers[];
  data: Buffer;
  readonly ends: (string | undefined)[];
}

/** A call, all that it hears, and its end. */
function call(port: number, headers: Headers = {}) {
  const heard: Heard = { headers: [], data: Buffer.alloc(0), ends: [] };
  const ended = Promise.withResolvers<Heard>();
  const begun = Promise.withResolvers<void>();
  const drains: (() => void)[] = [];
  const http2 = new Http2Call(`http://127.0.0.1:${port}`, "/a.B/C", headers, {
    onHeaders: (received) => {
      heard.headers.push(received);
      begun.resolve();
    },
    onData: (bytes) => {
      heard.data = Buffer.concat([heard.data, bytes]);
    },
    onDrain: () => {
      for (const drained of drains.splice(0)) drained();
    },
    onEnd: (problem) => {
      heard.ends.push(problem);
      ended.resolve(heard);
    },
  });
  closing.push(() => http2.destroy());
  const drained = () => new Promise<void>((resolve) => drains.push(resolve));
  return { http2, ended: ended.promise, begun: begun.promise, drained, heard };
}

/** A server of Node's that does this with each call. */
async function serve(
  answer: (stream: ServerHttp2Stream, headers: Record<string, unknown>, session: ServerHttp2Session) => void,
  options: Parameters<typeof createServer>[0] = {},
): Promise<{ port: number; server: Http2Server; sessions: Set<ServerHttp2Session> }> {
  const server = createServer(options);
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    if (stream.session !== undefined) answer(stream, headers, stream.session as ServerHttp2Session);
  });
  await listening(server);
  closing.push(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, server, sessions };
}

async function listening(server: Server | Http2Server): Promise<void> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
}

function echo(stream: ServerHttp2Stream): void {
  stream.respond({ ":status": 200 }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.pipe(stream);
}

describe("a call", () => {
  test("sends its headers, and hears headers, data and trailers", async () => {
    const received: Record<string, unknown>[] = [];
    const { port } = await serve((stream, headers) => {
      received.push(headers);
      echo(stream);
    });
    const { http2, ended } = call(port, { te: "trailers", authorization: `Bearer ${"t".repeat(2_000)}` });
    http2.write(Buffer.from("one, "));
    http2.write(Buffer.alloc(0));
    http2.write(Buffer.from("two"));
    http2.finish();
    const { headers, data, ends } = await ended;
    expect(received[0]).toMatchObject({
      ":method": "POST",
      ":scheme": "http",
      ":authority": `127.0.0.1:${port}`,
      ":path": "/a.B/C",
      te: "trailers",
      authorization: `Bearer ${"t".repeat(2_000)}`,
    });
    expect(headers.map((each) => each[":status"] ?? each["grpc-status"])).toEqual(["200", "0"]);
    expect(data.toString()).toBe("one, two");
    expect(ends).toEqual([undefined]);
  });

  test.each([
    ["Node's own windows", {}],
    ["windows of 100 bytes", { settings: { initialWindowSize: 100 } }],
    ["large frames", { settings: { maxFrameSize: 100_000, initialWindowSize: 10 * MIB } }],
    ["padding", { paddingStrategy: constants.PADDING_STRATEGY_MAX }],
  ])("carries much both ways, with %s", { timeout: 20_000 }, async (_, options) => {
    const { port } = await serve(echo, options);
    const { http2, ended, drained } = call(port);
    const sent = Buffer.from(Uint32Array.from({ length: "settings" in options ? MIB / 16 : MIB }, (__, i) => i).buffer);
    let written = 0;
    for (let at = 0; at < sent.byteLength; at += 50_000) {
      const part = sent.subarray(at, at + 50_000);
      const hasRoom = http2.write(part, () => {
        written += part.byteLength;
      });
      if (!hasRoom) await drained();
    }
    http2.finish();
    const { data, ends } = await ended;
    expect(data.equals(sent)).toBe(true);
    expect(written).toBe(sent.byteLength);
    expect(ends).toEqual([undefined]);
  });

  test("goes on with other settings in its middle", async () => {
    const { port, sessions } = await serve(echo, { settings: { initialWindowSize: 1_000 } });
    const { http2, ended, begun } = call(port);
    await begun;
    http2.write(Buffer.alloc(5_000, "a"));
    const [session] = sessions;
    session?.settings({ initialWindowSize: 10, maxFrameSize: 20_000 });
    await once(session as ServerHttp2Session, "localSettings");
    http2.write(Buffer.alloc(5_000, "b"));
    session?.settings({ initialWindowSize: 200_000 });
    http2.write(Buffer.alloc(100_000, "c"));
    http2.finish();
    const { data, ends } = await ended;
    expect(data.toString()).toBe(`${"a".repeat(5_000)}${"b".repeat(5_000)}${"c".repeat(100_000)}`);
    expect(ends).toEqual([undefined]);
  });

  test("reads every character, and headers of more than one frame", async () => {
    const characters = Array.from({ length: 256 }, (_, code) => String.fromCharCode(code));
    // What is not allowed in a header is left out; the "0" make packing worth its while.
    const value = characters.filter((character) => /[\t\x20-\x7e\x80-\xff]/.test(character)).join("") + "0".repeat(400);
    const { port } = await serve((stream) => {
      stream.respond({ ":status": 204, "x-all": value, "x-long": "long".repeat(10_000) }, { endStream: true });
    });
    const { headers, ends } = await call(port).ended;
    expect(headers).toEqual([expect.objectContaining({ ":status": "204", "x-long": "long".repeat(10_000) })]);
    expect(headers[0]?.["x-all"]).toBe(value);
    expect(ends).toEqual([undefined]);
  });

  test("hears a reset", async () => {
    const { port } = await serve((stream) => stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM));
    expect((await call(port).ended).ends).toEqual(["the call was reset with code 11"]);
  });

  test("outlives a server's orderly end, and no other one", async () => {
    const { port } = await serve((stream, _, session) => {
      stream.respond({ ":status": 200 });
      session.goaway(constants.NGHTTP2_NO_ERROR, 1);
      setImmediate(() => stream.end("still here"));
    });
    const { data, ends } = await call(port).ended;
    expect(data.toString()).toBe("still here");
    expect(ends).toEqual([undefined]);
    const ill = await serve((_, __, session) => session.goaway(constants.NGHTTP2_INTERNAL_ERROR, 1));
    expect((await call(ill.port).ended).ends).toEqual(["the server ends the connection with code 2"]);
  });

  test("asks whether the server is there, and answers the same", async () => {
    const { port, sessions } = await serve((stream) => stream.respond({ ":status": 200 }));
    const { http2, begun } = call(port);
    await begun;
    await new Promise<void>((resolve) => http2.ping(resolve));
    const [session] = sessions;
    await new Promise<void>((resolve, reject) => {
      session?.ping((error) => (error === null ? resolve() : reject(error)));
    });
  });

  test("ends once where nobody listens, and where the connection breaks", async () => {
    const { port, server, sessions } = await serve(() => {
      for (const session of sessions) session.destroy();
    });
    expect((await call(port).ended).ends).toEqual(["the connection was closed"]);
    await new Promise((resolve) => server.close(resolve));
    const { ended, heard } = call(port);
    expect((await ended).ends[0]).toContain("ECONNREFUSED");
    await new Promise(setImmediate);
    expect(heard.ends).toHaveLength(1);
  });

  test("leaves to the process what a handler of its own throws, whatever that is", async () => {
    const { port } = await serve((stream) => stream.respond({ ":status": 200 }));
    const thrown = new RangeError("a handler's own");
    const others = process.listeners("uncaughtException");
    process.removeAllListeners("uncaughtException");
    const problem = new Promise((resolve) => process.once("uncaughtException", resolve));
    const fail = () => {
      throw thrown;
    };
    const ignore = () => {};
    const handlers = { onHeaders: fail, onData: ignore, onDrain: ignore, onEnd: ignore };
    const http2 = new Http2Call(`http://127.0.0.1:${port}`, "/a.B/C", {}, handlers);
    closing.push(() => http2.destroy());
    expect(await problem).toBe(thrown);
    for (const listener of others) process.on("uncaughtException", listener);
  });

  test("says nothing after it was destroyed", async () => {
    const { port } = await serve(echo);
    const { http2, begun, heard } = call(port);
    await begun;
    http2.write(Buffer.from("x"));
    http2.destroy();
    const written: string[] = [];
    http2.write(Buffer.from("y"), () => written.push("y"));
    http2.finish();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(heard.ends).toEqual([]);
    expect(written).toEqual([]);
  });
});

const OK_HEADERS = frame(FRAME.headers, FLAG.endHeaders, 1, Buffer.of(0x88));
const TRAILERS = frame(
  FRAME.headers,
  FLAG.endHeaders | FLAG.endStream,
  1,
  Buffer.from("\0\x0bgrpc-status\x010", "latin1"),
);

describe("a peer", () => {
  /** Sends these bytes to whoever connects, in pieces of this size. */
  async function peer(bytes: Buffer, pieceBytes = bytes.byteLength): Promise<number> {
    const server = createTcpServer((socket) => {
      socket.on("error", () => {});
      socket.setNoDelay(true);
      socket.resume();
      const send = (at: number): void => {
        if (at >= bytes.byteLength || socket.destroyed) return;
        socket.write(bytes.subarray(at, at + pieceBytes), () => send(at + pieceBytes));
      };
      send(0);
      closing.push(() => socket.destroy());
    });
    await listening(server);
    closing.push(() => server.close());
    return (server.address() as AddressInfo).port;
  }

  test.each([1, 2, 7, 1_000])("may send its frames in pieces of %i bytes", async (pieceBytes) => {
    const text = frame(FRAME.data, FLAG.padded, 1, Buffer.from("\x03text...", "latin1"));
    const unknown = frame(200, 0xff, 77, Buffer.from("of an extension"));
    const begun = frame(FRAME.headers, FLAG.priority, 1, Buffer.from("\0\0\0\0\0\x88", "latin1"));
    const continued = frame(FRAME.continuation, FLAG.endHeaders, 1, Buffer.from("\0\x01a\x01b", "latin1"));
    const bytes = Buffer.concat([settingsFrame({}), unknown, begun, continued, text, text, TRAILERS]);
    const { headers, data, ends } = await call(await peer(bytes, pieceBytes)).ended;
    expect(headers).toEqual([{ ":status": "200", a: "b" }, { "grpc-status": "0" }]);
    expect(data.toString()).toBe("texttext");
    expect(ends).toEqual([undefined]);
  });

  test.each<[string, Buffer, string]>([
    ["a frame that is too large", Buffer.of(0, 0x40, 1, 0, 0, 0, 0, 0, 1), "a frame has 16385 bytes"],
    ["HTTP/1", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"), "a frame has 4740180 bytes"],
    ["a push", frame(FRAME.push, 0, 1, Buffer.alloc(4)), "the server pushes"],
    ["settings that are cut", frame(FRAME.settings, 0, 0, Buffer.alloc(5)), "the server's settings are cut"],
    ["a window that is too large", settingsFrame({ [SETTING.initialWindowSize]: 2 ** 31 }), "allows 2147483648 bytes"],
    [
      "windows that add up to too much",
      numberFrame(FRAME.windowUpdate, 0, 2 ** 31 - 1),
      "more bytes than there can be",
    ],
    ["a number that is cut", frame(FRAME.windowUpdate, 0, 0, Buffer.alloc(3)), "outside buffer bounds"],
    ["padding beyond a frame", frame(FRAME.data, FLAG.padded, 1, Buffer.of(9, 1)), "shorter than its padding"],
    ["padding of nothing", frame(FRAME.data, FLAG.padded, 1, Buffer.alloc(0)), "outside buffer bounds"],
    [
      "headers that do not go on",
      Buffer.concat([frame(FRAME.headers, 0, 1, Buffer.alloc(1)), OK_HEADERS]),
      "not continued",
    ],
    ["headers that never began", frame(FRAME.continuation, 0, 1, Buffer.alloc(1)), "have not begun"],
    [
      "headers without end",
      Buffer.concat([
        frame(FRAME.headers, 0, 1, Buffer.alloc(16_384)),
        ...Array.from({ length: 4 }, () => frame(FRAME.continuation, 0, 1, Buffer.alloc(16_384))),
      ]),
      "headers are too large",
    ],
    ["headers that are malformed", frame(FRAME.headers, FLAG.endHeaders, 1, Buffer.of(0xff)), "cut"],
  ])("that sends %s is left", async (_, bytes, problem) => {
    const { ends } = await call(await peer(bytes)).ended;
    expect(ends).toEqual([expect.stringContaining(problem)]);
  });
});
