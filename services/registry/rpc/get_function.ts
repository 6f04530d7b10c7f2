import type {
  GetFunctionRequest,
  GetFunctionResponse,
} from "../../../gen/multinode/registry/v1/registry_service.pb.js";
import { functionDoesNotExist, versionDoesNotExist } from "../../platform/errors.js";
import { parse } from "../../platform/rpc/validation.js";
import type { RegistryContext } from "../context.js";
import { findFunctions, findProject } from "../find.js";
import { functionRequest } from "../requests.js";

export function getFunction(context: RegistryContext) {
  return async (request: GetFunctionRequest): Promise<GetFunctionResponse> => {
    const { projectName, versionId, functionName } = parse(functionRequest, request);
    const project = await findProject(context, projectName);
    const found = await findFunctions(context, project, versionId);
    if (found === undefined) throw versionDoesNotExist(projectName, versionId);
    const spec = found.loaded.functions.get(functionName);
    if (spec === undefined) throw functionDoesNotExist(projectName, found.versionId, functionName);
    return { versionId: found.versionId, function: spec };
  };
}
