import type { GetProjectRequest, GetProjectResponse } from "../../../gen/multinode/registry/v1/registry_service.pb.js";
import { parse } from "../../platform/rpc/validation.js";
import type { RegistryContext } from "../context.js";
import { toProject } from "../convert.js";
import { findProject } from "../find.js";
import { projectRequest } from "../requests.js";

export function getProject(context: RegistryContext) {
  return async (request: GetProjectRequest): Promise<GetProjectResponse> => {
    const { projectName } = parse(projectRequest, request);
    return { project: toProject(await findProject(context, projectName)) };
  };
}
