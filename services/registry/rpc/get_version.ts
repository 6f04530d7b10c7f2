import type { GetVersionRequest, GetVersionResponse } from "../../../gen/multinode/registry/v1/registry_service.pb.js";
import { versionDoesNotExist } from "../../platform/errors.js";
import { parse } from "../../platform/rpc/validation.js";
import type { RegistryContext } from "../context.js";
import { toVersion } from "../convert.js";
import { findFunctions, findProject } from "../find.js";
import { versionRequest } from "../requests.js";

export function getVersion(context: RegistryContext) {
  return async (request: GetVersionRequest): Promise<GetVersionResponse> => {
    const { projectName, versionId } = parse(versionRequest, request);
    const project = await findProject(context, projectName);
    const found = await findFunctions(context, project, versionId);
    const version = found === undefined ? undefined : await context.store.findVersion(found.versionId);
    if (found === undefined || version === undefined) throw versionDoesNotExist(projectName, versionId);
    return { version: toVersion(version, found.loaded.functions.values()) };
  };
}
