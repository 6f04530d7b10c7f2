/** gRPC calls as any client could make them: with whatever bytes, and whatever metadata. */
import { Client, credentials, Metadata, status } from "@grpc/grpc-js";
import { BadRequest, ErrorInfo } from "../../gen/google/rpc/error_details.pb.js";
import { Status as RpcStatus } from "../../gen/google/rpc/status.pb.js";

/** Longest time that one call may take, in milliseconds. */
const CALL_TIMEOUT_MS = 15_000;

/** A method of a generated service definition. */
export interface RawMethod {
  readonly name: string;
  readonly requestType: {
    encode(message: never): { finish(): Uint8Array };
    fromPartial(partial: never): unknown;
  };
}

export interface RawService {
  readonly fullName: string;
  readonly methods: Readonly<Record<string, RawMethod>>;
}

/** How a call ended. */
export interface Outcome {
  /** Name of the status, such as "INVALID_ARGUMENT". */
  readonly code: string;
  /** Of the ErrorInfo; empty: there was none. */
  readonly reason: string;
  /** "field: description" of each violation in the BadRequest. */
  readonly violations: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly message: string;
  /** What was answered before the end. */
  readonly responses: readonly Uint8Array[];
}

export type Headers = readonly (readonly [name: string, value: string])[];

export interface RawConnection {
  /** Sends the messages, closes its side, and reads to the end. Never rejects. */
  send(path: string, messages: readonly Uint8Array[], headers: Headers): Promise<Outcome>;
  close(): void;
}

export interface RawConnectionOptions {
  /** Packs the messages with gzip. */
  readonly gzip?: boolean;
}

export function connectRaw(apiUrl: string, { gzip = false }: RawConnectionOptions = {}): RawConnection {
  const { host, protocol } = new URL(apiUrl);
  const client = new Client(host, protocol === "https:" ? credentials.createSsl() : credentials.createInsecure(), {
    "grpc.max_send_message_length": -1,
    "grpc.max_receive_message_length": -1,
    "grpc.use_local_subchannel_pool": 1,
    ...(gzip ? { "grpc.default_compression_algorithm": 2 } : {}),
  });
  return { send: (path, messages, headers) => send(client, path, messages, headers), close: () => client.close() };
}

export function bearer(token: string): Headers {
  return [["authorization", `Bearer ${token}`]];
}

export function pathOf(service: RawService, method: RawMethod): string {
  return `/${service.fullName}/${method.name}`;
}

/** A message as bytes. Only the names of its fields are held to its type: that its values are wrong is the point. */
export function encodePartial(method: RawMethod, partial: object): Uint8Array {
  const { requestType } = method;
  return requestType.encode(requestType.fromPartial(partial as never) as never).finish();
}

/** "OK", or the code, the reason, and what the details say: for comparison with one string. */
export function summary({ code, reason, violations, metadata }: Outcome): string {
  const details = violations.length > 0 ? violations.join("; ") : describe(metadata);
  return [code, reason, details].filter((part) => part !== "").join(" ");
}

/** As `summary` writes them. */
export function badFields(...violations: readonly string[]): string {
  return `INVALID_ARGUMENT ParameterValidationError ${violations.join("; ")}`;
}

function describe(metadata: Readonly<Record<string, string>>): string {
  const names = Object.keys(metadata).toSorted();
  return names.map((name) => `${name}=${metadata[name]}`).join(" ");
}

async function send(client: Client, path: string, messages: readonly Uint8Array[], headers: Headers): Promise<Outcome> {
  const metadata = new Metadata();
  for (const [name, value] of headers) metadata.add(name, value);
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const responses: Buffer[] = [];
  // On the wire, a unary call is a stream with one message.
  const call = client.makeBidiStreamRequest(path, asBuffer, asBuffer, metadata, {
    deadline: Date.now() + CALL_TIMEOUT_MS,
  });
  call.on("data", (response: Buffer) => responses.push(response));
  // The status tells the same.
  call.on("error", () => {});
  call.on("status", ({ code, details, metadata: trailer }) => {
    const [encoded] = trailer.get("grpc-status-details-bin");
    resolve({ code: status[code] ?? String(code), message: details, responses, ...detailsOf(encoded) });
  });
  for (const message of messages) call.write(Buffer.from(message));
  call.end();
  return await promise;
}

function asBuffer(bytes: Buffer): Buffer {
  return bytes;
}

function detailsOf(encoded: string | Buffer | undefined): Pick<Outcome, "reason" | "violations" | "metadata"> {
  const { reason, violations, metadata } = outcomeOf(
    typeof encoded === "object" ? RpcStatus.decode(encoded) : RpcStatus.fromPartial({}),
  );
  return { reason, violations, metadata };
}

/** What a `google.rpc.Status` says, such as that of one item of a batch. */
export function outcomeOf({ code, message, details }: RpcStatus): Outcome {
  let info = ErrorInfo.fromPartial({});
  let violations: string[] = [];
  for (const { typeUrl, value } of details) {
    if (typeUrl.endsWith("google.rpc.ErrorInfo")) info = ErrorInfo.decode(value);
    if (!typeUrl.endsWith("google.rpc.BadRequest")) continue;
    violations = BadRequest.decode(value).fieldViolations.map(({ field, description }) => `${field}: ${description}`);
  }
  return {
    code: status[code] ?? String(code),
    reason: info.reason,
    violations,
    metadata: info.metadata,
    message,
    responses: [],
  };
}
