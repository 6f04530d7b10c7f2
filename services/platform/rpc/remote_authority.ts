/** API keys, as the registry knows them, in a service that is not the registry. */
import { ApiKeyRole } from "../../../gen/multinode/registry/v1/api_key_role.pb.js";
import type { CatalogServiceClient } from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { Refusal } from "../errors.js";
import type { Authority, Principal } from "./principal.js";

const API_KEY = /^mn_/;
/** Keys that are remembered. */
const MOST_KEYS = 1_000;

/** Remembers good keys for a few seconds, so that a revoked one is good for no longer than that. */
export function remoteKeyAuthority(catalog: Pick<CatalogServiceClient, "verifyApiKey">): Authority {
  const known = new Map<string, { principal: Principal; until: number }>();
  return async (token) => {
    if (!API_KEY.test(token)) return undefined;
    const cached = known.get(token);
    if (cached !== undefined && cached.until > performance.now()) return cached.principal;
    known.delete(token);
    try {
      const until = performance.now() + LIMITS.apiKeyCacheMs;
      const { keyId, role, projectName } = await catalog.verifyApiKey({ apiKey: token });
      const principal: Principal = { kind: "key", keyId, role: role || ApiKeyRole.ADMIN, projectName };
      if (known.size >= MOST_KEYS) known.clear();
      known.set(token, { principal, until });
      return principal;
    } catch (error) {
      if (error instanceof Refusal && error.reason === "ApiKeyIsInvalid") return undefined;
      throw error;
    }
  };
}
