import { ApiKeyRole } from "../../../gen/multinode/registry/v1/api_key_role.pb.js";
import type {
  RevokeApiKeyRequest,
  RevokeApiKeyResponse,
} from "../../../gen/multinode/registry/v1/api_key_service.pb.js";
import { permissionDenied, Refusal } from "../../platform/errors.js";
import { parse } from "../../platform/rpc/validation.js";
import type { RegistryContext } from "../context.js";
import { toApiKey } from "../convert.js";
import { revokeApiKeyRequest } from "../requests.js";
import type { ApiKeyRecord } from "../store.js";

export function revokeApiKey({ store, clock, apiKeyCheck }: RegistryContext) {
  return async (request: RevokeApiKeyRequest): Promise<RevokeApiKeyResponse> => {
    const { keyId } = parse(revokeApiKeyRequest, request);
    const key = await store.revokeApiKey(keyId, clock.now(), (found, lastingAdmins) => {
      if (isLastingAdmin(found) && lastingAdmins === 1) {
        throw permissionDenied(
          "the last API key with the role ADMIN that does not expire cannot be revoked: make another one first",
        );
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

/** Whether it may make other keys for as long as it is not revoked. There is always one. */
function isLastingAdmin({ role, expireTimeMs, revokeTimeMs }: ApiKeyRecord): boolean {
  return role === ApiKeyRole.ADMIN && expireTimeMs === undefined && revokeTimeMs === undefined;
}
