import type { GetCodeRequest, GetCodeResponse } from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import { Refusal } from "../../platform/errors.js";
import { parse } from "../../platform/rpc/validation.js";
import type { RegistryContext } from "../context.js";
import { codeRequest } from "../requests.js";

export function getCode({ store, seal }: RegistryContext) {
  return async (request: GetCodeRequest): Promise<GetCodeResponse> => {
    const { versionId } = parse(codeRequest, request);
    const version = await store.findVersion(versionId);
    if (version === undefined) {
      throw new Refusal("VersionDoesNotExist", `version ${versionId} does not exist`, { metadata: { versionId } });
    }
    return { code: seal.open(versionId, version.code) };
  };
}
