import {
  type ClientHttp2Session,
  connect,
  constants,
  createServer,
  type Http2Server,
  type ServerHttp2Stream,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Gateway, openGateway } from "./gateway.js";

const { NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM } = constants;

let behind: Http2Server;
let gateway: Gateway;
let client: ClientHttp2Session;
/** What the server behind does with a stream, by its path. */
let serve: (stream: ServerHttp2Stream) => void;

beforeEach(async () => {
  behind = createServer();
  behind.on("stream", (stream) => {
    stream.on("error", () => undefined);
    serve(stream);
  });
  await new Promise<void>((resolve) => {
    behind.listen(0, "127.0.0.1", resolve);
  });
  const { port } = behind.address() as AddressInfo;
  gateway = await openGateway({ "/a.v1.": `127.0.0.1:${port}`, "/gone.v1.": "127.0.0.1:1" });
  client = connect(`http://127.0.0.1:${gateway.port}`);
});
afterEach(async () => {
  client.destroy();
  await gateway.close();
  await new Promise((resolve) => behind.close(resolve));
});

interface Answer {
  readonly headers: Record<string, unknown>;
  readonly trailers: Record<string, unknown>;
  readonly body: string;
  readonly resetCode: number;
}

/** Sends a request in one piece and collects all that comes back. */
function request(path: string, body = ""): Promise<Answer> {
  return new Promise((resolve) => {
    const stream = client.request({ ":method": "POST", ":path": path, "content-type": "application/grpc" });
    const answer = { headers: {}, trailers: {}, body: "", resetCode: 0 };
    stream.on("response", (headers) => Object.assign(answer.headers, headers));
    stream.on("trailers", (trailers) => Object.assign(answer.trailers, trailers));
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      answer.body += chunk;
    });
    stream.on("error", () => undefined);
    stream.once("close", () => resolve({ ...answer, resetCode: stream.rstCode ?? 0 }));
    stream.end(body);
  });
}

describe("the gateway", () => {
  test("passes headers, data and trailers", async () => {
    serve = (stream) => {
      stream.respond({ ":status": 200, "x-from": "behind" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", "x-last": "yes" }));
      stream.pipe(stream);
    };
    const body = "x".repeat(300_000);
    const answer = await request("/a.v1.Service/Echo", body);
    expect(answer).toMatchObject({ headers: { ":status": 200, "x-from": "behind" }, resetCode: 0 });
    expect(answer.trailers).toMatchObject({ "grpc-status": "0", "x-last": "yes" });
    expect(answer.body).toBe(body);
  });

  test("passes an answer of headers only", async () => {
    serve = (stream) => stream.respond({ ":status": 200, "grpc-status": "5" }, { endStream: true });
    expect(await request("/a.v1.Service/Get")).toMatchObject({ headers: { "grpc-status": "5" }, body: "" });
  });

  test("passes a reset from behind", async () => {
    serve = (stream) => stream.close(NGHTTP2_ENHANCE_YOUR_CALM);
    expect((await request("/a.v1.Service/Get")).resetCode).toBe(NGHTTP2_ENHANCE_YOUR_CALM);
  });

  test("passes a client's cancellation", async () => {
    const cancelled = new Promise<number>((resolve) => {
      serve = (stream) => {
        stream.once("close", () => resolve(stream.rstCode ?? 0));
        stream.respond({ ":status": 200 });
        stream.write("first");
      };
    });
    const stream = client.request({ ":method": "POST", ":path": "/a.v1.Service/Watch" });
    stream.on("error", () => undefined);
    stream.once("data", () => stream.close(NGHTTP2_CANCEL));
    expect(await cancelled).toBe(NGHTTP2_CANCEL);
  });

  test("answers UNIMPLEMENTED for what nobody serves, and UNAVAILABLE for who cannot be reached", async () => {
    expect(await request("/b.v1.Service/Get")).toMatchObject({ headers: { "grpc-status": "12" } });
    expect(await request("/gone.v1.Service/Get")).toMatchObject({ headers: { "grpc-status": "14" } });
  });
});
