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
    const { displayName } = parse(createApiKeyRequest, request);
    const { key, token } = newApiKey(ids.next("key"), displayName, clock.now());
    await store.createApiKey(key);
    return { apiKey: toApiKey(key), secret: token };
  };
}
