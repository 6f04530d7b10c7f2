import type {
  FindUsedBundlesRequest,
  FindUsedBundlesResponse,
} from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import { parse } from "../../platform/rpc/validation.js";
import type { RegistryContext } from "../context.js";
import { usedBundlesRequest } from "../requests.js";

export function findUsedBundles({ store }: RegistryContext) {
  return async (request: FindUsedBundlesRequest): Promise<FindUsedBundlesResponse> => {
    const { digests } = parse(usedBundlesRequest, request);
    return { digests: [...(await store.usedBundles(digests))] };
  };
}
