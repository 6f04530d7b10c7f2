import { encodeArguments } from "../codec.js";
import type { StartRequest } from "../invocation_client.js";

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
