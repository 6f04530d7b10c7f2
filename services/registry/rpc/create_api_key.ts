import type {
  CreateApiKeyRequest,
  CreateApiKeyResponse,
} from "../../../gen/multinode/registry/v1/api_key_service.pb.js";
import { parse } from "../../platform/rpc/validation.js";
import { newApiKey } from "../api_key_secret.js";
import type { RegistryContext } from "../context.js";
import { toApiKey } from "../convert.js";
import { createApiKeyRequest } from "../requests.js";

export function createApiKey({ store, clock, ids }: RegistryContext) {
  return async (request: CreateApiKeyRequest): Promise<CreateApiKeyResponse> => {
    const { displayName, role, projectName, lifetimeMs } = parse(createApiKeyRequest, request);
    const createTimeMs = clock.now();
    const expireTimeMs = lifetimeMs === undefined ? undefined : createTimeMs + lifetimeMs;
    const keyId = ids.next("key");
    const { key, token } = newApiKey({ keyId, displayName, role, projectName, createTimeMs, expireTimeMs });
    await store.createApiKey(key);
    return { apiKey: toApiKey(key), secret: token };
  };
}
