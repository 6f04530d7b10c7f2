import type {
  VerifyApiKeyRequest,
  VerifyApiKeyResponse,
} from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import { apiKeyIsInvalid } from "../../platform/errors.js";
import type { RegistryContext } from "../context.js";

export function verifyApiKey({ apiKeyCheck }: RegistryContext) {
  return async (request: VerifyApiKeyRequest): Promise<VerifyApiKeyResponse> => {
    // Fresh, because the services that ask keep the answer for `apiKeyCacheMs` themselves.
    const key = await apiKeyCheck.verify(request.apiKey, true);
    if (key === undefined) throw apiKeyIsInvalid();
    const { keyId, role, projectName } = key;
    return { keyId, role, projectName };
  };
}
