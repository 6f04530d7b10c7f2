/** Clients of one service in another, over gRPC. */
import {
  type Channel,
  ChannelCredentials,
  type Client,
  ClientError,
  type CompatServiceDefinition,
  createChannel,
  createClientFactory,
  Metadata,
  Status,
} from "nice-grpc";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { sentWhole } from "../../../sdk/typescript/src/protocol/whole_messages.js";
import { refusalsOfServices } from "./service_errors.js";

const CHANNEL_OPTIONS = {
  "grpc.max_receive_message_length": LIMITS.messageBytes,
  "grpc.max_send_message_length": LIMITS.messageBytes,
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.enable_channelz": 0,
  "grpc.max_reconnect_backoff_ms": 2_000,
  "grpc.initial_reconnect_backoff_ms": 100,
};

/** Deadline of a call between services that brings none of its own. */
const CALL_DEADLINE_MS = 20_000;

export interface ServiceConnection {
  client<Definition extends CompatServiceDefinition>(definition: Definition): Client<Definition>;
  close(): void;
}

/**
 * `address` is "host:port". `serviceToken` is what the services of one installation share. Without credentials the
 * connection is in plain text.
 */
export function connectToService(
  address: string,
  serviceToken: string,
  credentials?: ChannelCredentials,
): ServiceConnection {
  const channel: Channel = createChannel(address, credentials ?? ChannelCredentials.createInsecure(), CHANNEL_OPTIONS);
  const metadata = Metadata({ authorization: `Bearer ${serviceToken}` });
  const factory = createClientFactory()
    .use(async function* withDeadline(call, options) {
      // A stream lives as long as it is read; a unary call must end.
      if (call.requestStream || call.responseStream) return yield* call.next(call.request, options);
      const deadline = AbortSignal.timeout(CALL_DEADLINE_MS);
      const signal = options.signal === undefined ? deadline : AbortSignal.any([options.signal, deadline]);
      try {
        return yield* call.next(call.request, { ...options, signal });
      } catch (error) {
        if (deadline.aborted) throw new ClientError(call.method.path, Status.DEADLINE_EXCEEDED, "no answer in time");
        throw error;
      }
    })
    .use(refusalsOfServices); // around the one before, whose deadline is a refusal too
  return {
    client: (definition) =>
      factory.create(sentWhole(definition), channel, { "*": { metadata } }) as Client<typeof definition>,
    close: () => channel.close(),
  };
}
