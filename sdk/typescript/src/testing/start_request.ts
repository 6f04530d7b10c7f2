import type { StartRequest } from "../client/invocation_client.js";
import { encodeArguments } from "../values/codec.js";

export function startRequest(...args: unknown[]): StartRequest {
  return {
    projectName: "p",
    versionId: "",
    functionName: "f",
    arguments: encodeArguments(args),
    idempotencyKey: "",
    ttlMs: undefined,
  };
}
