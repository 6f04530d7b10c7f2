import { once } from "node:events";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { type CallFailedError, GrpcCall } from "./grpc_call.js";

test.each([
  [{ ":status": 404 }, "the call ended without a status, by HTTP's 404", true],
  [{ ":status": 200, "grpc-status": "14", "grpc-message": "not%20now" }, "not now", true],
  [{ ":status": 200, "grpc-status": "5", "grpc-message": "no %such thing" }, "no %such thing", false],
  [{ ":status": 200, "grpc-status": "0" }, undefined, undefined],
])("a call that is answered %j ends so", async (headers, message, mayRepeat) => {
  const server = createServer();
  server.on("stream", (stream) => stream.respond(headers, { endStream: true }));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const error = await new Promise<CallFailedError | undefined>((resolve) => {
    const ignore = () => {};
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    new GrpcCall(url, "/a.B/C", "token", { onMessage: ignore, onDrain: ignore, onEnd: resolve });
  });
  expect([error?.message, error?.mayRepeat]).toEqual([message, mayRepeat]);
  server.close();
});
