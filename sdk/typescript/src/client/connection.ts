/** The channel to a server, and a client for each of its services. */
import { type Channel, type Client, createChannel, createClientFactory } from "nice-grpc";
import { InvocationServiceDefinition } from "../../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { LogServiceDefinition } from "../../../../gen/multinode/invocation/v1/log_service.pb.js";
import { ApiKeyServiceDefinition } from "../../../../gen/multinode/registry/v1/api_key_service.pb.js";
import { RegistryServiceDefinition } from "../../../../gen/multinode/registry/v1/registry_service.pb.js";
import { SchedulerServiceDefinition } from "../../../../gen/multinode/scheduler/v1/scheduler_service.pb.js";
import { ParameterValidationError } from "../errors.js";
import { LIMITS } from "../protocol/limits.js";
import { sentWhole } from "../protocol/whole_messages.js";
import { type CallPolicy, callPolicy } from "./call_policy.js";

/** The services that a client may call. Errors are of the SDK's classes, unary calls have a deadline. */
export interface Services {
  readonly registry: Client<typeof RegistryServiceDefinition>;
  readonly apiKeys: Client<typeof ApiKeyServiceDefinition>;
  readonly invocations: Client<typeof InvocationServiceDefinition>;
  readonly logs: Client<typeof LogServiceDefinition>;
  readonly scheduler: Client<typeof SchedulerServiceDefinition>;
}

/** For the SDK itself, whose messages leave nothing out. */
export interface WholeServices {
  readonly wholeInvocations: Client<typeof InvocationServiceDefinition>;
}

const CHANNEL_OPTIONS = {
  // A peer that has gone without a word is noticed after 30 s at most.
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 0,
  "grpc.max_receive_message_length": LIMITS.messageBytes,
  "grpc.max_send_message_length": LIMITS.messageBytes,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 2_000,
  // Bound of one attempt to connect, which nice-grpc enforces: grpc-js itself would wait for ever.
  "grpc.min_reconnect_backoff_ms": 10_000,
  // Calls are tried again by call_policy.ts, which knows when that is safe.
  "grpc.enable_retries": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.enable_channelz": 0,
  "grpc.use_local_subchannel_pool": 1,
};

/** Opens nothing yet: the channel connects with its first call. Throws a ParameterValidationError for a bad URL. */
export function openChannel(apiUrl: string): Channel {
  const url = URL.canParse(apiUrl) ? new URL(apiUrl) : undefined;
  const isOfServer = url !== undefined && /^https?:$/.test(url.protocol) && url.host !== "";
  if (!isOfServer || url.pathname !== "/" || url.search !== "" || url.hash !== "") {
    const form = 'must be a URL without a path, such as "http://127.0.0.1:7411" or "https://multinode.example.com"';
    const description = `"${apiUrl}" ${form}`;
    throw new ParameterValidationError(`apiUrl: ${description}`, { violations: [{ field: "apiUrl", description }] });
  }
  return createChannel(`${url.protocol}//${url.host}`, undefined, CHANNEL_OPTIONS);
}

export function openServices(channel: Channel, policy: CallPolicy): Services & WholeServices {
  const factory = createClientFactory().use(callPolicy(policy));
  return {
    registry: factory.create(RegistryServiceDefinition, channel),
    apiKeys: factory.create(ApiKeyServiceDefinition, channel),
    invocations: factory.create(InvocationServiceDefinition, channel),
    wholeInvocations: factory.create(sentWhole(InvocationServiceDefinition), channel),
    logs: factory.create(LogServiceDefinition, channel),
    scheduler: factory.create(SchedulerServiceDefinition, channel),
  };
}
