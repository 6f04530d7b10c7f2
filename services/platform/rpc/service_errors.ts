/** Statuses of another service as refusals, so that its reasons pass through a service that calls it. */
import { type ClientError, type ClientMiddleware, Metadata, Status } from "nice-grpc";
import { ErrorInfo } from "../../../gen/google/rpc/error_details.pb.js";
import { Status as RpcStatus } from "../../../gen/google/rpc/status.pb.js";
import { isReason } from "../../../sdk/typescript/src/protocol/reasons.js";
import { Refusal } from "../errors.js";

/** Client middleware that throws a Refusal in place of a ClientError that carries one. */
export const refusalsOfServices: ClientMiddleware = async function* refusalsOfServices(call, options) {
  let trailer = Metadata();
  try {
    return yield* call.next(call.request, {
      ...options,
      onTrailer: (received) => {
        trailer = received;
        options.onTrailer?.(received);
      },
    });
  } catch (error) {
    throw asRefusal(error, trailer) ?? error;
  }
};

/** Whether a service of before does not know a method. */
export function isUnimplemented(error: unknown): boolean {
  return error instanceof Error && error.name === "ClientError" && (error as ClientError).code === Status.UNIMPLEMENTED;
}

function asRefusal(error: unknown, trailer: Metadata): Refusal | undefined {
  if (!(error instanceof Error) || error.name !== "ClientError") return undefined;
  const encoded = trailer.get("grpc-status-details-bin");
  if (encoded !== undefined) {
    const status = RpcStatus.decode(encoded);
    const info = status.details.find((detail) => detail.typeUrl.endsWith("google.rpc.ErrorInfo"));
    const { reason, metadata } = info === undefined ? { reason: "", metadata: {} } : ErrorInfo.decode(info.value);
    if (isReason(reason)) return new Refusal(reason, status.message, { metadata });
  }
  const { code, path } = error as ClientError;
  if (code !== Status.UNAVAILABLE && code !== Status.DEADLINE_EXCEEDED) return undefined;
  const refusal = new Refusal("Unavailable", `a service that this one needs does not answer (${path})`, {
    retryAfterMs: 1_000,
  });
  refusal.cause = error;
  return refusal;
}
