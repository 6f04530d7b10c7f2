/**
 * Methods whose messages are sent as they are given. For all others nice-grpc copies each message first, to fill in what its
 * sender left out; where messages are many and large, as on these ways of every call, the copy costs as much as the rest.
 */
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import type { CompatServiceDefinition } from "nice-grpc";

/** Full name of a service → methods whose senders leave nothing out. */
const WHOLE: Readonly<Record<string, readonly string[]>> = {
  "multinode.invocation.v1.InvocationService": ["streamStartInvocations", "watchInvocations"],
  "multinode.invocation.v1.DispatchService": ["leaseInvocations", "streamLeases", "reportExecutions", "appendLogs"],
  "multinode.scheduler.v1.WorkerService": ["connect"],
};

/** A writer that has grown beyond this is let go of, so that one large message does not stay in memory. */
const KEPT_BYTES = 256 * 1024;

/** The same service, for a client or a server that sends the messages of these methods whole. */
export function sentWhole<Service extends CompatServiceDefinition>(definition: Service): Service {
  const fullName: unknown = definition["fullName" as keyof Service];
  const whole = typeof fullName === "string" ? WHOLE[fullName] : undefined;
  if (whole === undefined) return definition;
  const encoder = new Encoder();
  const methods = Object.entries(definition["methods" as keyof Service] as Record<string, Method>).map(
    ([name, method]) => {
      if (!whole.includes(name)) return [name, method];
      const { requestType, responseType } = method;
      return [
        name,
        { ...method, requestType: encoder.typeOf(requestType), responseType: encoder.typeOf(responseType) },
      ];
    },
  );
  return { ...definition, methods: Object.fromEntries(methods) };
}

interface Method {
  readonly requestType: MessageType;
  readonly responseType: MessageType;
}

interface MessageType {
  readonly encode: (message: unknown, writer?: BinaryWriter) => BinaryWriter;
  readonly decode: (input: Uint8Array) => unknown;
}

/** Encodes with one writer again and again, whose buffer need not grow each time. */
class Encoder {
  #writer = new BinaryWriter();

  /** Without `fromPartial`, which is what nice-grpc copies with. */
  typeOf({ encode, decode }: MessageType) {
    return { encode: (message: unknown) => ({ finish: () => this.#encode(encode, message) }), decode };
  }

  #encode(encode: MessageType["encode"], message: unknown): Uint8Array {
    const writer = this.#writer;
    // Put back when all went well: a writer that was left in the middle of a message is not used again.
    this.#writer = new BinaryWriter();
    const bytes = encode(message, writer).finish();
    if (bytes.byteLength <= KEPT_BYTES) this.#writer = writer;
    return bytes;
  }
}
