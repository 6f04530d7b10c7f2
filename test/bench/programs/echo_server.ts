/** Echoes bytes over grpc-js, by a unary method and by a stream. Sends its port. */
import { type handleBidiStreamingCall, type handleUnaryCall, Server, ServerCredentials } from "@grpc/grpc-js";
import { ECHO } from "../harness/echo_service.js";

const unary: handleUnaryCall<Buffer, Buffer> = (call, answer) => answer(null, call.request);
const stream: handleBidiStreamingCall<Buffer, Buffer> = (call) => {
  call.on("data", (message: Buffer) => call.write(message));
  call.on("end", () => call.end());
};

const server = new Server({ "grpc.enable_channelz": 0 });
server.addService(ECHO, { unary, stream });
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  process.send?.(port);
});
process.once("SIGTERM", () => process.exit(0));
