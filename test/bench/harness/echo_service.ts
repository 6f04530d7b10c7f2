import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";

function method(name: string, isStream: boolean): MethodDefinition<Buffer, Buffer> {
  const asIs = (bytes: Buffer) => bytes;
  return {
    path: `/bench.Echo/${name}`,
    requestStream: isStream,
    responseStream: isStream,
    requestSerialize: asIs,
    requestDeserialize: asIs,
    responseSerialize: asIs,
    responseDeserialize: asIs,
  };
}

/** Bytes back as they came, without Protobuf: what the transport alone costs. */
export const ECHO = {
  unary: method("Unary", false),
  stream: method("Stream", true),
} satisfies ServiceDefinition;
