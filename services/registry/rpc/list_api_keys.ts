import type { ListApiKeysRequest, ListApiKeysResponse } from "../../../gen/multinode/registry/v1/api_key_service.pb.js";
import { pageSizeOf } from "../../platform/page_offset.js";
import type { RegistryContext } from "../context.js";
import { toApiKey } from "../convert.js";

const LISTING = ["api-keys"];

export function listApiKeys({ store, offsets }: RegistryContext) {
  return async (request: ListApiKeysRequest): Promise<ListApiKeysResponse> => {
    const pageSize = pageSizeOf(request.pageSize);
    const keys = await store.listApiKeys(offsets.decode(LISTING, request.offset), pageSize + 1);
    const { page, nextOffset } = offsets.page(LISTING, keys, pageSize, ({ keyId }) => keyId);
    return { apiKeys: page.map(toApiKey), nextOffset };
  };
}
