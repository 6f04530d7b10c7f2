import type {
  RevokeApiKeyRequest,
  RevokeApiKeyResponse,
} from "../../../gen/multinode/registry/v1/api_key_service.pb.js";
import { permissionDenied, Refusal } from "../../platform/errors.js";
import { parse } from "../../platform/rpc/validation.js";
import type { RegistryContext } from "../context.js";
import { toApiKey } from "../convert.js";
import { revokeApiKeyRequest } from "../requests.js";

export function revokeApiKey({ store, clock, apiKeyCheck }: RegistryContext) {
  return async (request: RevokeApiKeyRequest): Promise<RevokeApiKeyResponse> => {
    const { keyId } = parse(revokeApiKeyRequest, request);
    const key = await store.revokeApiKey(keyId, clock.now(), (found, goodKeys) => {
      if (found.revokeTimeMs === undefined && goodKeys === 1) {
        throw permissionDenied("the last API key cannot be revoked: make another one first");
      }
    });
    if (key === undefined) throw apiKeyDoesNotExist(keyId);
    apiKeyCheck.forget(keyId);
    return { apiKey: toApiKey(key) };
  };
}

function apiKeyDoesNotExist(keyId: string): Refusal {
  return new Refusal("ApiKeyDoesNotExist", `API key ${keyId} does not exist`, { metadata: { keyId } });
}
